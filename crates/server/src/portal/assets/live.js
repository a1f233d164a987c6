// Watchpost portal: live regions. The server says which rows changed; we ask for the page (or for those rows
// alone) again and put in place what differs. Without this script the page reloads by itself.

const COALESCE_MS = 250; // several changes at once are one request
const QUIET_MS = 30_000; // times and "last contact" are refreshed even if nothing was announced
const ANNOUNCE_MS = 5_000; // a screen reader is told at most so often
const FLASH_MS = 1_800;
const LOST_MS = 5_000; // a stream that is merely renewed is not lost

const changed = new Set();
let everything = false;
let timer = 0;
let busy = false;
let source = null;

/** Text of an element without what passes by itself: relative times. */
function essence(element) {
  const copy = element.cloneNode(true);
  copy.querySelectorAll("time").forEach((time) => (time.textContent = ""));
  copy.querySelectorAll("svg [x1], svg .passed").forEach((mark) => mark.remove());
  return copy.textContent.replace(/\s+/g, " ");
}

/** Puts `next` where `old` is, keeping what a person has opened, focused and scrolled to. */
function replace(old, next) {
  if (old.matches(":has([popover]:popover-open)") || old.querySelector("details[open]")) return false;
  if (old.outerHTML === next.outerHTML) return false;
  const differs = essence(old) !== essence(next);
  const loud = old.dataset.live !== "quiet";
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const links = "a, button, input, summary, [tabindex]";
  const index = focused ? [...old.querySelectorAll(links)].indexOf(focused) : -1;
  const sheet = old.querySelector(".sheet");
  const left = sheet ? sheet.scrollLeft : 0;
  old.replaceWith(next);
  if (left) next.querySelector(".sheet").scrollLeft = left;
  if (index >= 0) next.querySelectorAll(links)[index]?.focus({ preventScroll: true });
  if (differs && loud) flash(old, next);
  return differs && loud;
}

/** Lights up softly what has changed: a row as a whole, of a rollout the cells that differ. */
function flash(old, next) {
  const cell = (root, link) => root.querySelector(`.cell[href="${link}"]`)?.textContent;
  const cells = [...next.querySelectorAll(".cell")].filter((one) => {
    const link = one.getAttribute("href");
    return cell(old, link) !== cell(next, link);
  });
  for (const one of next.matches("tr") ? [next] : cells) {
    one.classList.add("is-fresh");
    setTimeout(() => one.classList.remove("is-fresh"), FLASH_MS);
  }
}

/** Where to ask: the grid for its changed rows alone, any other page for itself. */
function address(ids) {
  const url = new URL(location.href);
  url.hash = "";
  if (ids && document.querySelector("#grid tbody")) ids.forEach((id) => url.searchParams.append("row", id));
  return url;
}

/** Keys of the rows that are shown, in their order. */
const rowsOf = (root) => [...root.querySelectorAll("#grid tbody > tr")].map((row) => row.id).join(" ");

async function refresh() {
  if (busy) return schedule();
  busy = true;
  const shown = [...changed].filter((id) => document.getElementById(id));
  const whole = everything || shown.length !== changed.size || !document.querySelector("#grid tbody");
  changed.clear();
  everything = false;
  try {
    const reply = await fetch(address(whole ? null : shown), { headers: { accept: "text/html" }, redirect: "manual" });
    if (reply.type === "opaqueredirect") return location.reload(); // signed out meanwhile
    if (!reply.ok) return;
    take(new DOMParser().parseFromString(await reply.text(), "text/html"), whole);
  } catch {
    // The stream tells when the server is back, and asks for everything then.
  } finally {
    busy = false;
  }
}

/** Takes over from `fresh` every live region that differs. */
function take(fresh, whole) {
  let count = 0;
  if (whole && rowsOf(document) !== rowsOf(fresh)) {
    const [old, next] = [document, fresh].map((root) => root.querySelector("#grid tbody"));
    if (!old || !next) return location.reload();
    if (!document.querySelector(":popover-open")) old.replaceWith(next);
    count += 1;
  }
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = old.id && fresh.getElementById(old.id);
    if (next && replace(old, document.importNode(next, true)) && old.matches("tr, .issue, section")) count += 1;
  }
  word();
  if (count) announce(count);
}

let waiting = 0;
let silentUntil = 0;
/** Tells a screen reader how much changed, now and then, never what of each row. */
function announce(count) {
  waiting += count;
  const now = performance.now();
  if (now < silentUntil) return;
  document.getElementById("announce").textContent = waiting === 1 ? "1 change on this page" : `${waiting} changes on this page`;
  waiting = 0;
  silentUntil = now + ANNOUNCE_MS;
}

function schedule() {
  timer ||= setTimeout(() => {
    timer = 0;
    refresh();
  }, COALESCE_MS);
}

/** Says in the heading whether the page is live. */
function word() {
  const state = document.documentElement.dataset.stream;
  const place = document.querySelector("[data-stream-word]");
  if (place) place.textContent = state === "open" ? "Live" : state === "lost" ? "Reconnecting · as of" : "As of";
}

function stream(state) {
  document.documentElement.dataset.stream = state;
  word();
}

function all() {
  everything = true;
  schedule();
}

function open() {
  if (source) return;
  source = new EventSource("/api/v1/events");
  source.addEventListener("open", () => {
    stream("open");
    all(); // whatever happened before the stream was there
  });
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) close(); // refused: the quiet refresh opens another
    setTimeout(() => source?.readyState === EventSource.CONNECTING && stream("lost"), LOST_MS);
  });
  source.addEventListener("sensor", (event) => {
    changed.add(JSON.parse(event.data).id);
    schedule();
  });
  for (const kind of ["health", "rollout", "release", "settings", "reload"]) source.addEventListener(kind, all);
}

function close() {
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
addEventListener("pageshow", () => document.hidden || open());
setInterval(() => {
  if (document.hidden) return;
  open();
  all();
}, QUIET_MS);

// Esc leaves the search field; `/` goes there.
addEventListener("keydown", (event) => {
  const field = document.getElementById("q");
  if (event.key !== "/" || !field || /input|textarea|select/i.test(document.activeElement.tagName)) return;
  event.preventDefault();
  field.focus();
});

// Watchpost portal: takes the one-time secret out of the link. It stands behind the `#`, so that no browser
// ever sends it in an address and no server ever logs it; it is taken out of the address bar at once.
const secret = decodeURIComponent(location.hash.slice(1));
if (secret) {
  history.replaceState(null, "", location.pathname + location.search);
  const field = document.getElementById("secret");
  field.value = secret;
  field.form.querySelector("button").focus();
}

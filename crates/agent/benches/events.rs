//! Intake: audit events of 600 bytes that no rule matches, read from a log, parsed, matched against 50 rules, summarised,
//! with a durable cursor; beside bare parsing of the same bytes.
//!
//! CPU time of one thread. Rounds take turns; the cheapest of each side counts, because noise only ever adds.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use watchpost_agent::engine::Engine as _;
use watchpost_agent::engine::sigma::Sigma;
use watchpost_agent::local::SensorStatus;
use watchpost_agent::sensor::pipeline::Pipeline;
use watchpost_agent::sensor::sink::Sink;
use watchpost_agent::sensor::tail::Tail;
use watchpost_agent::sensor::worker::{Command, Worker};
use watchpost_clock::Clock;
use watchpost_core::version::Version;

use cpu::own_cpu;

mod cpu;

type Failure = Box<dyn std::error::Error>;

/// Events of one round.
const EVENTS: usize = 100_000;
/// Bytes of each, with its line end.
const EVENT_BYTES: usize = 600;
/// Rules they are matched against.
const RULES: usize = 50;
/// Turns of both sides.
const ROUNDS: usize = 5;
/// Events a second on one core that must be taken in.
const BAR: f64 = 100_000.0;

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<bool, Failure> {
    let folder = tempfile::tempdir()?;
    let rules = folder.path().join("rules");
    write_rules(&rules)?;
    let log = folder.path().join("audit.json");
    let events = events();
    fs::File::create(&log)?.write_all(&events)?;
    println!("{EVENTS} events of {EVENT_BYTES} bytes, {RULES} rules, none matches");
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        ours = ours.min(take_in(&log, &rules)?);
        let before = own_cpu()?;
        for line in events.split_inclusive(|byte| *byte == b'\n') {
            std::hint::black_box(serde_json::from_slice::<Value>(line)?);
        }
        bare = bare.min(own_cpu()?.saturating_sub(before));
    }
    let rate = EVENTS as f64 / ours.as_secs_f64();
    say("intake", ours);
    say("reference: bare parsing", bare);
    println!(
        "  {:<32} {:>9.2}   (times the reference's CPU)",
        "cost beside the reference",
        ours.as_secs_f64() / bare.as_secs_f64()
    );
    println!("  {:<32} {rate:>9.0}   (bar {BAR:.0}, more is better)", "events a second on one core");
    Ok(rate >= BAR)
}

fn say(what: &str, cpu: Duration) {
    let each = cpu.as_secs_f64() * 1e9 / EVENTS as f64;
    println!("  {what:<32} {:>9.1} ms CPU, {each:.0} ns each", cpu.as_secs_f64() * 1e3);
}

/// The sensor's own way, from the log on disk to the settled cursor.
fn take_in(log: &Path, rules: &Path) -> Result<Duration, Failure> {
    let state = tempfile::tempdir()?;
    let sigma = Sigma::load(rules)?;
    if sigma.rules().loaded != u32::try_from(RULES)? || sigma.rules().failed != 0 {
        return Err(format!("{} of {RULES} rules loaded: {:?}", sigma.rules().loaded, sigma.rules().complaints).into());
    }
    let sink = Sink::open(state.path())?;
    let tail = Tail::new(log.to_owned(), None);
    let (publish, seen) = watch::channel(SensorStatus::starting(Version::new(2, 255, 1, 0), 1));
    let mut worker = Worker::new(tail, Pipeline::new(Box::new(sigma)), sink, Clock::system(), publish);
    let (commands, received) = sync_channel(1);
    let before = own_cpu()?;
    while worker.look() {}
    commands.send(Command::Stop)?;
    worker.run(&received);
    let spent = own_cpu()?.saturating_sub(before);
    let status = seen.borrow().clone();
    let (read, lost) = (status.measurements.events_read, status.measurements.events_not_analysed);
    let settled = Sink::open(state.path())?.place().map(|place| place.offset);
    if (read, lost, status.alert_count) != (EVENTS as u64, 0, 0) || settled != Some((EVENTS * EVENT_BYTES) as u64) {
        return Err(format!("{read} events, {lost} lost, {} alerts, settled at {settled:?}", status.alert_count).into());
    }
    Ok(spent)
}

/// The rules of the release, and others as they are written for Windows and for Samba.
fn write_rules(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let release = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content/rules");
    let mut count = 0;
    for entry in fs::read_dir(release)? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join(entry.file_name()))?;
        count += 1;
    }
    let ids = [4672, 4697, 4698, 4702, 4719, 4720, 4738, 4740, 4741, 4742, 4776, 4886, 5136, 5140, 5145];
    for number in 0..RULES - count {
        let detection = match number % 5 {
            0 => format!(
                "    EventID: {}\n    TargetUserName|endswith: '-{number}'\n",
                ids.get(number % ids.len()).unwrap_or(&1)
            ),
            1 => format!("    EventID: 4624\n    LogonType: 10\n    IpAddress|cidr: '198.51.{number}.0/24'\n"),
            2 => format!(
                "    EventID: 4688\n    NewProcessName|endswith: '\\tool{number}.exe'\n    CommandLine|contains: ['-enc', 'sekurlsa', '/add']\n"
            ),
            3 => format!(
                "    type: Authentication\n    Authentication.serviceDescription: 'service {number}'\n    Authentication.clientAccount|re: '^svc[0-9]{{4}}{number}$'\n"
            ),
            _ => format!(
                "    type: dsdbChange\n    dsdbChange.operation: Modify\n    dsdbChange.dn|contains: 'CN=AdminSDHolder{number},'\n"
            ),
        };
        let product = if number % 5 < 3 { "windows\n  service: security" } else { "samba" };
        let text = format!(
            "title: Bench {number}\nid: bench-{number}\nlogsource:\n  product: {product}\ndetection:\n  selection:\n{detection}  \
             known:\n    SubjectUserName|startswith: 'svc-{number}'\n  condition: selection and not known\nlevel: low\n"
        );
        fs::write(folder.join(format!("bench-{number:02}.yml")), text)?;
    }
    Ok(())
}

/// Successful logons, directory changes, starts of processes: what a domain controller writes all day.
fn events() -> Vec<u8> {
    let mut log = Vec::with_capacity(EVENTS * EVENT_BYTES);
    for number in 0..EVENTS {
        let event = match number % 4 {
            0 => samba_logon(number),
            1 => samba_change(number),
            2 => windows(number, 4624, &logon_data(number)),
            _ => windows(number, 4688, &process_data(number)),
        };
        let mut line = event.to_string().into_bytes();
        // Made up to the length with what a parser skips fastest, so that it counts for neither side.
        line.resize(EVENT_BYTES - 1, b' ');
        line.push(b'\n');
        log.append(&mut line);
    }
    log
}

fn samba_logon(number: usize) -> Value {
    let account = format!("clerk{}", number % 997);
    json!({"timestamp": "2026-11-21T07:31:12.520416+0000", "type": "Authentication", "Authentication": {
        "version": {"major": 1, "minor": 2}, "eventId": 4624, "logonId": "0", "logonType": 3, "status": "NT_STATUS_OK",
        "localAddress": "ipv4:10.88.0.10:445", "remoteAddress": format!("ipv4:10.88.{}.{}:34974", number % 7, number % 250 + 1),
        "serviceDescription": "SMB2", "authDescription": "NTLMSSP", "clientAccount": account, "workstation": "CLIENT1",
        "becameAccount": account, "becameSid": "S-1-5-21-937816707-2334220166-69904963-1104", "mappedAccount": account,
        "netlogonComputer": null, "netlogonNegotiateFlags": "0x00000000", "passwordType": "NTLMv2", "duration": 5320}})
}

fn samba_change(number: usize) -> Value {
    json!({"timestamp": "2026-11-21T07:31:11.669853+0000", "type": "dsdbChange", "dsdbChange": {
        "version": {"major": 1, "minor": 0}, "statusCode": 0, "status": "Success", "operation": "Modify",
        "remoteAddress": format!("ipv4:10.88.0.{}:53486", number % 250 + 1), "performedAsSystem": false,
        "userSid": "S-1-5-21-937816707-2334220166-69904963-500", "dn": format!("CN=clerk{number},CN=Users,DC=lab,DC=test"),
        "transactionId": "5f2b6e0c-7f8a-4d8e-9a51-3f6a6e3b1c42", "sessionId": "0e5b7f0a-22fd-4a53-8e2c-0f7f8d3a9b11",
        "attributes": {"displayName": {"actions": [{"action": "replace", "values": [{"value": format!("Clerk {number}")}]}]}}}})
}

fn windows(number: usize, id: u32, data: &Value) -> Value {
    json!({"Event": {"System": {"Provider": {"Name": "Microsoft-Windows-Security-Auditing"}, "EventID": id, "Level": 0,
        "TimeCreated": {"SystemTime": "2026-11-21T07:31:10.542928Z"}, "EventRecordID": number, "Channel": "Security",
        "Computer": "DC1.corp.example"}, "EventData": data}})
}

fn logon_data(number: usize) -> Value {
    json!({"SubjectUserName": "-", "TargetUserSid": "S-1-5-21-937816707-2334220166-69904963-1108", "TargetUserName":
        format!("clerk{}", number % 997), "TargetDomainName": "CORP", "LogonType": 3, "LogonProcessName": "Kerberos",
        "AuthenticationPackageName": "Kerberos", "WorkstationName": "-", "IpPort": "50110",
        "IpAddress": format!("::ffff:10.20.{}.{}", number % 7, number % 250 + 1)})
}

fn process_data(number: usize) -> Value {
    json!({"SubjectUserSid": "S-1-5-18", "SubjectUserName": "DC1$", "NewProcessId": format!("{number:#x}"),
        "NewProcessName": r"C:\Windows\System32\conhost.exe", "TokenElevationType": "%%1936",
        "CommandLine": r"\??\C:\Windows\system32\conhost.exe 0xffffffff -ForceV1",
        "ParentProcessName": r"C:\Windows\System32\svchost.exe"})
}

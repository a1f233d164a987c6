//! The engine's life: rights, death, hanging, and interfaces that come and go.

use std::collections::BTreeSet;

use watchpost_agent::engine::suricata::{Suricata, SuricataStatus};
use watchpost_clock::Clock;
use watchpost_core::facts::EngineState;

use crate::lab::{CAPTURE, Lab, in_own_network, ip, is_running};

fn state(status: &SuricataStatus) -> Option<EngineState> {
    status.engine.as_ref().map(|engine| engine.state)
}

#[test]
fn runs_unprivileged() {
    in_own_network("life::runs_unprivileged", async |lab: Lab| {
        let engine = lab.engine().await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", engine.pid())).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        // capability.h: CAP_NET_ADMIN 12, CAP_NET_RAW 13, CAP_IPC_LOCK 14.
        let rights = format!("{:016x}", (1_u64 << 12) | (1 << 13) | (1 << 14));
        for set in ["CapEff:", "CapPrm:", "CapInh:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), rights, "{set}");
        }
        assert!(field("Uid:").split_whitespace().all(|id| id == "65534"), "{}", field("Uid:"));
        assert!(field("Gid:").split_whitespace().all(|id| id == "65534"));
        assert_eq!((field("Groups:"), field("NoNewPrivs:")), ("", "1"));
        let mut handle = engine.handle;
        handle.take_evidence();
        let pid = engine.status.borrow().pid.unwrap();
        handle.stop().await;
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "a stopped engine is gone");
    });
}

#[test]
fn killed_process_is_started_again_past_its_stale_socket() {
    in_own_network("life::killed_process_is_started_again_past_its_stale_socket", async |lab: Lab| {
        let mut engine = lab.engine().await;
        let _served = lab.serve();
        Lab::send("http");
        let counted =
            engine.until("packets are counted", |s| s.counters.get(CAPTURE).is_some_and(|c| c.packets > 5)).await;
        let (pid, packets) = (engine.pid(), counted.counters[CAPTURE].packets);
        engine.signal("-KILL");
        engine.until("its death is noticed", |status| state(status) == Some(EngineState::NotRunning)).await;
        assert!(engine.place.control().exists(), "the socket of the dead is still there");
        let status = engine
            .until("it runs again", |status| {
                assert_ne!(state(status), Some(EngineState::Starting), "a failure stands until there is an answer");
                is_running(status)
            })
            .await;
        assert_ne!(status.pid, Some(pid));
        assert_eq!(status.starts, 2);
        Lab::send("http");
        engine.until("counters go on", |s| s.counters[CAPTURE].packets > packets + 5).await;
        engine.handle.prove().await.unwrap();
    });
}

#[test]
fn hung_process_is_noticed() {
    in_own_network("life::hung_process_is_noticed", async |lab: Lab| {
        let mut engine = lab.engine().await;
        let pid = engine.pid();
        engine.signal("-STOP");
        let status = engine.until("it is noticed", |status| state(status) == Some(EngineState::NotRunning)).await;
        let reason = status.engine.unwrap().reason;
        assert!(reason.contains("did not answer within 2 s"), "{reason}");
        engine.until("it runs again", |status| is_running(status) && status.pid != Some(pid)).await;
    });
}

#[test]
fn interface_removed_and_back() {
    in_own_network("life::interface_removed_and_back", async |lab: Lab| {
        ip("link add sens1 type veth peer name far1");
        ip("link set sens1 up");
        ip("link set far1 up");
        let mut engine = lab.engine().await;
        let both = BTreeSet::from([CAPTURE.to_owned(), "sens1".to_owned()]);
        engine.handle.configure(both, BTreeSet::new()).await.unwrap();
        engine.until("both are listened on", |s| is_running(s) && s.counters.len() == 2).await;

        ip("link del sens1");
        engine.until("it goes on with one", |s| is_running(s) && s.counters.len() == 1 && s.starts == 3).await;
        assert_eq!(engine.control().await.interfaces().await.unwrap(), [CAPTURE]);
        let facts = engine.status.borrow().interfaces["sens1"].clone();
        assert!(facts.selected && !facts.present && !facts.up);

        ip(&format!("link del {CAPTURE}"));
        let status = engine.until("it has nothing to listen on", |s| s.pid.is_none()).await;
        assert_eq!(state(&status), Some(EngineState::NotRunning));
        assert!(status.engine.unwrap().reason.contains("no capture interface is there"));

        lab.plug_in();
        engine.until("it starts by itself", |s| is_running(s) && s.interfaces[CAPTURE].up).await;
        engine.handle.prove().await.unwrap();
    });
}

#[test]
fn link_down() {
    in_own_network("life::link_down", async |lab: Lab| {
        let mut engine = lab.engine().await;
        let pid = engine.pid();
        lab.peer("ip link set plc0 down").status().unwrap();
        engine.until("the link is down", |s| s.interfaces[CAPTURE].present && !s.interfaces[CAPTURE].up).await;
        lab.peer("ip link set plc0 up").status().unwrap();
        engine.until("the link is up", |s| s.interfaces[CAPTURE].up).await;
        engine.handle.prove().await.unwrap();
        assert_eq!(engine.pid(), pid, "nothing was started again for that");
    });
}

#[test]
fn what_is_missing_is_said() {
    in_own_network("life::what_is_missing_is_said", async |lab: Lab| {
        let options =
            watchpost_agent::engine::suricata::SuricataOptions { program: Some(lab.path("suricata")), ..lab.options() };
        let handle = Suricata::spawn(options, Clock::system()).unwrap();
        handle.configure(BTreeSet::from([CAPTURE.to_owned()]), BTreeSet::new()).await.unwrap();
        let engine = handle.status().borrow().engine.clone().unwrap();
        assert_eq!(engine.state, EngineState::StartFailed);
        assert!(engine.reason.contains("apt-get install -t bookworm-backports suricata"), "{}", engine.reason);
        // Once it is installed it starts by itself.
        std::os::unix::fs::symlink("/usr/bin/suricata", lab.path("suricata")).unwrap();
        let mut status = handle.status();
        tokio::time::timeout(std::time::Duration::from_secs(40), status.wait_for(is_running)).await.unwrap().unwrap();
    });
}

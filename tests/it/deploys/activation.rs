//! Sockets that systemd holds, played by a few lines of Python: what is tested is what a process finds when it is started so.

use super::handover::Site;
use super::{call, said};
use crate::support::house::get;
use crate::support::program::Running;
use crate::support::targets::within;

/// Listens at two free ports, runs the program by them, and runs it again when it is told so: connections wait meanwhile.
const SYSTEMD: &str = r#"
import ctypes, os, signal, socket, sys
names, program = sys.argv[1], sys.argv[2:]
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names.split(":")]
def start():
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # It ends with this one.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heeded)
        high = [os.dup(s.fileno()) for s in sockets]
        high = [os.dup(h) for h in high]
        for at, fd in enumerate(high):
            os.dup2(fd, 3 + at, inheritable=True)
        os.environ.update(LISTEN_FDS=str(len(high)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
        os.execv(program[0], program)
    return child
heeded = {signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, heeded)
child, restarts = start(), False
while True:
    told = signal.sigwait(heeded)
    if told != signal.SIGCHLD:
        restarts = told == signal.SIGHUP
        os.kill(child, signal.SIGTERM)
        continue
    status = os.waitpid(child, 0)[1]
    if not restarts or status != 0:
        sys.exit(os.waitstatus_to_exitcode(status))
    child, restarts = start(), False
"#;

fn activated(site: &Site, names: &str, arguments: &[&str]) -> Running {
    // Whatever it is told to listen on otherwise cannot be bound.
    let program = site.program.clone().variable("GATEKEEPER_LISTEN", "192.0.2.1:1").variable("GATEKEEPER_OPS_LISTEN", "192.0.2.1:2");
    program.to_serve().start_by("/usr/bin/python3", &["-c", SYSTEMD, names], arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_refuses_nobody_who_connects_meanwhile() {
    let site = Site::new().await;
    for names in ["data:ops", "ops:data", "gatekeeper.socket:gatekeeper.socket"] {
        let serving = activated(&site, names, &["serve"]).serving().await;
        assert_eq!(get(serving.ops, "/metrics").await.status, 200, "{names}");
        for restart in 2..4 {
            call(serving.data).await.expect(200);
            serving.running.signal("HUP");
            // Some of these come before the old one has ended, some before the new one is there.
            while said(&serving.running, "serving") < restart {
                call(serving.data).await.expect(200);
            }
        }
        let ended = serving.stop().await.expect(0);
        assert!(!ended.err.contains("192.0.2.1"), "{}", ended.err);
    }
}

#[tokio::test]
async fn whoever_started_it_hears_how_it_goes() {
    let site = Site::new().await;
    let path = site.program.folder().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let hear = async || {
        let mut heard = [0; 64];
        let length = within("a word", socket.recv(&mut heard)).await.unwrap();
        String::from_utf8(heard[..length].to_vec()).unwrap()
    };
    let program = site.program.clone().variable("NOTIFY_SOCKET", &path.display().to_string());
    let serving = program.serve().await;
    assert_eq!(hear().await, "READY=1");
    let next = program.take_over().await;
    let mut words = [hear().await, hear().await];
    words.sort();
    assert_eq!(words, ["READY=1", "STOPPING=1"]);
    serving.running.end().await.expect(0);
    next.stop().await.expect(0);
}

#[tokio::test]
async fn sockets_that_make_no_sense_are_a_mistake() {
    let site = Site::new().await;
    for names in ["ops", "data:data", "a:b:c"] {
        let running = activated(&site, names, &["serve"]);
        assert!(running.end().await.expect(78).err.contains("LISTEN_FDS: "));
    }
}

#[tokio::test]
async fn variables_meant_for_another_process_are_not_heeded() {
    let site = Site::new().await;
    let program = site.program.clone().variable("LISTEN_FDS", "2").variable("LISTEN_PID", "1");
    let serving = program.serve().await;
    call(serving.data).await.expect(200);
    serving.stop().await.expect(0);
}

#[tokio::test]
async fn what_systemd_started_can_be_taken_over_too() {
    let site = Site::new().await;
    let first = activated(&site, "data:ops", &["serve"]).serving().await;
    call(first.data).await.expect(200);
    let second = site.program.take_over().await;
    assert_eq!((second.data, second.ops), (first.data, first.ops));
    first.running.log_line("stopped").await;
    call(second.data).await.expect(200);
    second.stop().await.expect(0);
}

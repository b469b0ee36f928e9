//! A real PostgreSQL, thrown away afterwards: one server for the whole test process, a database for each test.
//!
//! ```ignore
//! let url = postgres::database();              // an empty database on the shared server
//! let own = Cluster::private();                // a server that a test may stop, kill and start again
//! own.kill();
//! own.start();
//! ```
//!
//! The shared server has the roles of a hosted platform (`anon`, `authenticated`, `service_role`) and two of an operator's (`reporting`, `keeper`); a
//! private one has none. Anybody may connect as any of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to come up: after a kill it waits for its orphans.
const PATIENCE: Duration = Duration::from_secs(60);

const SETTINGS: &str = "
listen_addresses = ''
max_connections = 300
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
timezone = 'America/New_York'
";

/// The URL of a new, empty database on the shared server.
pub fn database() -> String {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let cluster = Cluster::private();
        for role in ["anon", "authenticated", "service_role", "reporting", "keeper"] {
            cluster.sql("postgres", &format!("create role {role} login"));
        }
        cluster
    });
    shared.database()
}

/// The same database, as somebody else.
pub fn url_as(role: &str, url: &str) -> String {
    url.replacen("postgres@", &format!("{role}@"), 1)
}

/// A server of its own, reached by a socket in its folder. It ends with the test process, however that ends.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    account: Option<Account>,
    /// Waits for its standard input to close, which not even a killed process can fail to do; then it clears away.
    sweeper: Child,
    databases: AtomicU32,
}

#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Cluster {
    pub fn private() -> Self {
        let programs = programs();
        // Short, because a socket's path is bounded; and where any account may pass.
        let folder = tempfile::Builder::new().prefix("gk-pg-").tempdir_in("/tmp").expect("a folder in /tmp");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let account = unprivileged(folder.path());
        if let Some(account) = account {
            chown(folder.path(), Some(account.user), Some(account.group)).expect("root may give a folder away");
        }
        let data = folder.path().join("data");
        succeed(
            command(&programs, "initdb", account)
                .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"])
                .arg(&data),
        );
        let sockets = format!("unix_socket_directories = '{}'\n", folder.path().display());
        fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, (SETTINGS.to_owned() + &sockets).as_bytes()))
            .unwrap();
        let sweeper = command(Path::new("/bin"), "sh", account)
            .args(["-c", "read -r _; \"$0/pg_ctl\" -D \"$1/data\" -m immediate -w stop; rm -rf \"$1\""])
            .arg(&programs)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let cluster = Self { folder, programs, account, sweeper, databases: AtomicU32::new(0) };
        cluster.start();
        cluster
    }

    /// Starts the server and waits until it answers.
    pub fn start(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let started = self.control(&["-w", "-l"], Some("server.log"), "start");
            if started.status.success() {
                return;
            }
            let log = fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
            assert!(Instant::now() < until, "PostgreSQL does not start: {log}");
        }
    }

    /// Stops the server in order; sessions are cut off.
    pub fn stop(&self) {
        let stopped = self.control(&["-w", "-m", "fast"], None, "stop");
        assert!(stopped.status.success(), "PostgreSQL does not stop: {}", String::from_utf8_lossy(&stopped.stderr));
    }

    /// Kills the server as a failing machine would.
    pub fn kill(&self) {
        succeed(Command::new("kill").args(["-KILL", &self.process().to_string()]));
    }

    pub fn process(&self) -> u32 {
        let pid = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).expect("the server runs");
        pid.lines().next().and_then(|pid| pid.parse().ok()).expect("it begins with the process id")
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name}"));
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}/{database}")
    }

    /// Runs statements by `psql`, outside of any pool.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let done = succeed(
            command(&self.programs, "psql", self.account)
                .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", statements, "-h"])
                .arg(self.folder.path()),
        );
        done.trim().to_owned()
    }

    fn control(&self, options: &[&str], log: Option<&str>, verb: &str) -> std::process::Output {
        let mut command = command(&self.programs, "pg_ctl", self.account);
        command.args(options);
        if let Some(log) = log {
            command.arg(self.folder.path().join(log));
        }
        // The server keeps what it is given: no pipe of ours, or whoever reads it waits for the server's end.
        let errors = fs::File::create(self.folder.path().join("control.log")).unwrap();
        let mut output =
            command.arg("-D").arg(self.folder.path().join("data")).arg(verb).stdout(Stdio::null()).stderr(errors).output().unwrap();
        output.stderr = fs::read(self.folder.path().join("control.log")).unwrap_or_default();
        output
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        // Before the folder goes, or the server writes into nothing.
        let _ = self.sweeper.wait();
    }
}

/// Where the server's programs are.
fn programs() -> PathBuf {
    let has_all = |folder: &PathBuf| ["initdb", "pg_ctl", "psql"].iter().all(|program| folder.join(program).exists());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    installed.sort();
    std::env::split_paths(&path)
        .chain(installed.into_iter().rev())
        .find(has_all)
        .expect("these tests need PostgreSQL's server programs (initdb, pg_ctl, psql): `make test` installs them")
}

/// PostgreSQL refuses to run as root: then it runs as the account its package made, or as nobody.
fn unprivileged(folder: &Path) -> Option<Account> {
    if fs::metadata(folder).unwrap().uid() != 0 {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let account = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Account { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    };
    Some(account("postgres").or_else(|| account("nobody")).expect("an account postgres or nobody"))
}

fn command(folder: &Path, program: &str, account: Option<Account>) -> Command {
    let mut command = Command::new(folder.join(OsStr::new(program)));
    // Where the account may not be, the programs complain.
    command.current_dir("/").env_remove("PGHOST").env_remove("PGPORT").env_remove("PGDATA").stdin(Stdio::null());
    if let Some(account) = account {
        command.uid(account.user).gid(account.group);
    }
    command
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

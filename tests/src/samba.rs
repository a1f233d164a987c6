//! A real Active Directory domain: Samba's domain controller in namespaces of its own, for as long as a test lives.
//!
//! Nothing outside is touched: its own network without any other machine, its own `/etc/samba`, `/run` and names.

mod tls;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::tools::run;

/// What to do when a tool is missing.
pub const INSTALL: &str = "apt-get install -y --no-install-recommends samba samba-ad-provision samba-dsdb-modules \
                           samba-vfs-modules winbind krb5-user ldap-utils smbclient iproute2 util-linux";
/// Set in the process that has the namespaces.
const INSIDE: &str = "WATCHPOST_TEST_HAS_OWN_DOMAIN";
/// The domain controller's address; nobody else is on its network.
pub const ADDRESS: &str = "10.88.0.10";
/// Its name.
pub const SERVER: &str = "dc1.lab.test";
/// The domain.
pub const DOMAIN: &str = "lab.test";
/// The domain as a DN.
pub const BASE: &str = "DC=lab,DC=test";
/// The administrator's password.
pub const ADMINISTRATOR_PASSWORD: &str = "Passw0rd!Lab1";
/// An ordinary account, which may only read.
pub const READER: &str = "watchpost@lab.test";
/// Its password.
pub const READER_PASSWORD: &str = "Only!Reads77";
/// How long the domain controller may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The port that a domain controller without TLS would answer on.
const LDAP: u16 = 389;

/// Runs the test, or program, that calls this once more in namespaces of its own, unless it stands in them already.
/// `arguments` are those of the second run. Says whether this is the second run.
///
/// # Errors
/// When the system gives nobody namespaces, or the second run fails.
pub fn has_own_machine<S: AsRef<OsStr>>(arguments: &[S]) -> anyhow::Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    anyhow::ensure!(Path::new("/usr/sbin/samba").exists(), "samba is not installed: {INSTALL}");
    let mut again = Command::new("unshare");
    again.args(["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    again.arg(std::env::current_exe()?).args(arguments).env(INSIDE, "1");
    let status = again.status().with_context(|| format!("unshare cannot be started: {INSTALL}"))?;
    anyhow::ensure!(status.success(), "it failed in namespaces of its own (as root?): {status}");
    Ok(false)
}

/// One entry of a search: values by attribute. What is not a text is in base64, as `ldapsearch` writes it.
pub type Entry = BTreeMap<String, Vec<String>>;

/// A domain with one domain controller.
pub struct Domain {
    dir: tempfile::TempDir,
    controller: Option<Child>,
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The names and the network of a machine of its own.
const MACHINE: &str = r#"
set -e
mount --make-rprivate /
hostname dc1
mount -t tmpfs tmpfs /run
mkdir -p /run/samba /run/lock
mount -t tmpfs tmpfs /etc/samba
mount -t tmpfs tmpfs "$1/dc"
printf 'search lab.test\nnameserver %s\n' "$2" >"$1/dc/resolv.conf"
mount --bind "$1/dc/resolv.conf" /etc/resolv.conf
printf '127.0.0.1 localhost\n%s dc1.lab.test dc1\n' "$2" >"$1/dc/hosts"
mount --bind "$1/dc/hosts" /etc/hosts
ip link set lo up
ip link add eth0 type veth peer name eth1
ip addr add "$2/24" dev eth0
ip link set eth0 up
ip link set eth1 up
"#;

impl Domain {
    /// Makes a domain and starts its domain controller; only in the process of [`has_own_machine`].
    ///
    /// # Errors
    /// When a tool is missing (says how to install it) or fails (says what it printed).
    pub fn provision() -> anyhow::Result<Self> {
        anyhow::ensure!(std::env::var_os(INSIDE).is_some(), "ask has_own_machine first");
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("dc"))?;
        let mut machine = Command::new("sh");
        run(machine.args(["-c", MACHINE, "machine"]).arg(dir.path()).arg(ADDRESS), INSTALL)?;
        tls::make(dir.path())?;
        let mut domain = Self { dir, controller: None };
        let home = text(&domain.home());
        let mut provision = Command::new("samba-tool");
        provision.args(["domain", "provision", "--realm=LAB.TEST", "--domain=LAB", "--server-role=dc"]);
        provision.args(["--dns-backend=SAMBA_INTERNAL", "--host-name=DC1"]);
        provision.arg(format!("--adminpass={ADMINISTRATOR_PASSWORD}")).arg(format!("--host-ip={ADDRESS}"));
        provision.arg(format!("--targetdir={home}"));
        provision.args(["--option=interfaces=lo eth0", "--option=bind interfaces only=yes"]);
        run(&mut provision, INSTALL)?;
        domain.configure()?;
        domain.samba_tool(&["user", "create", "watchpost", READER_PASSWORD])?;
        domain.start()?;
        Ok(domain)
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("dc/home")
    }

    /// A folder beside the domain for whatever a test keeps.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Who signed the domain controller's certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Another authority, which signed nothing.
    #[must_use]
    pub fn other_ca_file(&self) -> PathBuf {
        self.path("other-ca.pem")
    }

    /// The audit log in JSON: logons, changes of objects, groups and passwords.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.home().join("log/audit.json")
    }

    /// The settings of Kerberos clients in this domain.
    #[must_use]
    pub fn krb5_config(&self) -> PathBuf {
        self.home().join("private/krb5.conf")
    }

    fn config(&self) -> String {
        text(&self.home().join("etc/run.conf"))
    }

    /// Where everything of it lies, what it writes down, and which certificate it shows.
    fn configure(&self) -> anyhow::Result<()> {
        let (home, dir, audit) = (text(&self.home()), text(self.dir.path()), text(&self.audit_log()));
        for folder in ["log", "run", "cache"] {
            std::fs::create_dir_all(self.home().join(folder))?;
        }
        let classes =
            ["auth_json_audit:3", "dsdb_json_audit:5", "dsdb_password_json_audit:5", "dsdb_group_json_audit:5"];
        let classes: Vec<_> = classes.iter().map(|class| format!("{class}@{audit}")).collect();
        let ours = format!(
            "[global]\n\tpid directory = {home}/run\n\tncalrpc dir = {home}/run/ncalrpc\n\tlog file = {home}/log/log.%m\n\
             \tmax log size = 0\n\tlog level = 1 {}\n\ttls enabled = yes\n\ttls keyfile = {dir}/server-key.pem\n\
             \ttls certfile = {dir}/server.pem\n\ttls cafile = {dir}/ca.pem\n\tdns forwarder = 127.0.0.1\n",
            classes.join(" ")
        );
        let made = std::fs::read_to_string(self.home().join("etc/smb.conf"))?;
        // What `provision` took from resolv.conf would have it ask itself.
        let made: Vec<_> = made.lines().filter(|line| !line.contains("dns forwarder")).collect();
        let made = made.join("\n").replacen("[global]\n", &ours, 1) + "\n";
        Ok(std::fs::write(self.home().join("etc/run.conf"), made)?)
    }

    /// Starts the domain controller and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.controller.is_none(), "the domain controller runs already");
        let console = std::fs::File::create(self.home().join("log/console.txt"))?;
        let mut samba = Command::new("samba");
        // A process group of its own: Samba's processes end together with it.
        samba.args(["-F", "--no-process-group", "-M", "standard", "-s", &self.config()]).process_group(0);
        samba.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        self.controller = Some(samba.spawn().with_context(|| format!("samba cannot be started: {INSTALL}"))?);
        // The tools ask over and over; each try fails fast while nothing listens.
        let answered = run(
            Command::new("timeout")
                .arg(PATIENCE.as_secs().to_string())
                .args(["sh", "-c", WAIT, "wait"])
                .args([self.ca_file().as_os_str(), SERVER.as_ref()]),
            INSTALL,
        );
        answered.map(drop).with_context(|| {
            let console = std::fs::read_to_string(self.home().join("log/console.txt")).unwrap_or_default();
            format!("the domain controller never answered; it says:\n{console}")
        })
    }

    /// Stops the domain controller: its ports are closed when this returns.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut controller) = self.controller.take() else { return Ok(()) };
        if let Some(group) = i32::try_from(controller.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::TERM);
            let script = "while kill -0 -- -$1 2>/dev/null && [ \"$(ps -o stat= --no-headers -g $1 | grep -vc Z)\" != 0 ]; do sleep 0.05; done";
            let waited = run(
                Command::new("timeout").args(["20", "sh", "-c", script, "wait", &controller.id().to_string()]),
                INSTALL,
            );
            let _ = kill_process_group(group, Signal::KILL);
            controller.wait()?;
            waited?;
        }
        Ok(())
    }

    /// `samba-tool` on the domain's own database.
    ///
    /// # Errors
    /// When it fails; says what it printed.
    pub fn samba_tool(&self, words: &[&str]) -> anyhow::Result<String> {
        run(Command::new("samba-tool").args(words).arg(format!("--configfile={}", self.config())), INSTALL)
    }

    fn ldap(&self, tool: &str, words: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = Command::new(tool);
        command.args(["-x", "-H", &format!("ldap://{SERVER}:{LDAP}"), "-ZZ", "-D", "Administrator@lab.test"]);
        command.args(["-w", ADMINISTRATOR_PASSWORD]).args(words).env("LDAPTLS_CACERT", self.ca_file());
        if !input.is_empty() {
            let file = self.path("change.ldif");
            std::fs::write(&file, input)?;
            command.arg("-f").arg(file);
        }
        run(&mut command, INSTALL)
    }

    /// What an independent client reads, tombstones included: `ldapsearch` of OpenLDAP.
    ///
    /// # Errors
    /// When it fails.
    pub fn search(&self, filter: &str, attributes: &[&str]) -> anyhow::Result<Vec<Entry>> {
        // -E !: the control is critical.
        let words = ["-LLL", "-o", "ldif-wrap=no", "-E", "!1.2.840.113556.1.4.417", "-b", BASE, filter];
        let found = self.ldap("ldapsearch", &[&words[..], attributes].concat(), "")?;
        Ok(found.split("\n\n").map(entry).filter(|entry| entry.contains_key("dn")).collect())
    }

    /// The entry of a machine's account, deleted or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn machine(&self, name: &str) -> anyhow::Result<Entry> {
        let attributes =
            ["objectGUID", "isDeleted", "uSNChanged", "sAMAccountName", "primaryGroupID", "lastKnownParent"];
        let found = self.search(&format!("(sAMAccountName={name}$)"), &attributes)?;
        found.into_iter().next().with_context(|| format!("no {name}$ in the directory"))
    }

    /// Adds the account of a domain controller that exists in the directory only.
    ///
    /// # Errors
    /// When the directory refuses.
    pub fn add_domain_controller_object(&self, name: &str) -> anyhow::Result<()> {
        let lower = name.to_ascii_lowercase();
        let ldif = format!(
            "dn: CN={name},OU=Domain Controllers,{BASE}\nobjectClass: computer\nsAMAccountName: {name}$\n\
             userAccountControl: 532480\ndNSHostName: {lower}.{DOMAIN}\n"
        );
        self.ldap("ldapadd", &[], &ldif).map(drop)
    }

    /// Deletes it; its tombstone stays.
    ///
    /// # Errors
    /// When the directory refuses.
    pub fn delete_domain_controller_object(&self, name: &str) -> anyhow::Result<()> {
        self.ldap("ldapdelete", &[&format!("CN={name},OU=Domain Controllers,{BASE}")], "").map(drop)
    }

    /// Renames it, the account's name too.
    ///
    /// # Errors
    /// When the directory refuses.
    pub fn rename_domain_controller_object(&self, name: &str, to: &str) -> anyhow::Result<()> {
        let ldif = format!(
            "dn: CN={name},OU=Domain Controllers,{BASE}\nchangetype: modrdn\nnewrdn: CN={to}\ndeleteoldrdn: 1\n\n\
             dn: CN={to},OU=Domain Controllers,{BASE}\nchangetype: modify\nreplace: sAMAccountName\nsAMAccountName: {to}$\n"
        );
        self.ldap("ldapmodify", &[], &ldif).map(drop)
    }

    /// Passwords of this domain expire so many days after they were set; 0: never.
    ///
    /// # Errors
    /// When `samba-tool` fails.
    pub fn passwords_expire_after(&self, days: u32) -> anyhow::Result<()> {
        self.samba_tool(&["domain", "passwordsettings", "set", &format!("--max-pwd-age={days}")]).map(drop)
    }

    /// The password of a user is one that must be changed before it is taken again.
    ///
    /// # Errors
    /// When the directory refuses.
    pub fn expire_password(&self, user: &str) -> anyhow::Result<()> {
        let ldif = format!("dn: CN={user},CN=Users,{BASE}\nchangetype: modify\nreplace: pwdLastSet\npwdLastSet: 0\n");
        self.ldap("ldapmodify", &[], &ldif).map(drop)
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// When `samba-tool` fails.
    pub fn set_password(&self, user: &str, password: &str) -> anyhow::Result<()> {
        self.samba_tool(&["user", "setpassword", user, &format!("--newpassword={password}")]).map(drop)
    }

    /// Tries to log on over Kerberos; says whether that went well.
    ///
    /// # Errors
    /// When `kinit` cannot be started.
    pub fn kerberos_logon(&self, user: &str, password: &str) -> anyhow::Result<bool> {
        let script = "printf '%s\\n' \"$2\" | timeout 20 kinit \"$1@LAB.TEST\"";
        let mut kinit = Command::new("sh");
        kinit.args(["-c", script, "kinit", user, password]).env("KRB5_CONFIG", self.krb5_config());
        kinit.env("KRB5CCNAME", format!("FILE:{}", text(&self.path("tickets"))));
        Ok(kinit.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
    }

    /// An administrator puts a user into “Domain Admins”, over LDAP as people do.
    ///
    /// # Errors
    /// When the administrator is not let in, or the directory refuses.
    pub fn make_domain_administrator(&self, user: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.kerberos_logon("Administrator", ADMINISTRATOR_PASSWORD)?,
            "no ticket for the administrator"
        );
        let mut tool = Command::new("samba-tool");
        tool.args(["group", "addmembers", "Domain Admins", user, "-H", &format!("ldap://{SERVER}")]);
        tool.args(["--use-kerberos=required", "-s", "/dev/null"]).env("KRB5_CONFIG", self.krb5_config());
        tool.env("KRB5CCNAME", format!("FILE:{}", text(&self.path("tickets"))));
        run(&mut tool, INSTALL).map(drop)
    }

    /// Tries to log on over SMB; says whether that went well.
    ///
    /// # Errors
    /// When `smbclient` cannot be started.
    pub fn smb_logon(&self, user: &str, password: &str) -> anyhow::Result<bool> {
        let mut smbclient = Command::new("timeout");
        smbclient.args([
            "20",
            "smbclient",
            &format!("//{SERVER}/sysvol"),
            "-W",
            "LAB",
            "-U",
            &format!("{user}%{password}"),
        ]);
        smbclient.args(["-s", "/dev/null", "-c", "ls"]).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(smbclient.status()?.success())
    }
}

/// Asks until the domain controller answers.
const WAIT: &str = "until LDAPTLS_CACERT=$1 timeout 3 ldapsearch -x -ZZ -H ldap://$2 -s base -b '' defaultNamingContext \
                    >/dev/null 2>&1; do sleep 0.1; done";

impl Drop for Domain {
    fn drop(&mut self) {
        let _ = self.stop();
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path().join("dc")).status();
    }
}

/// One entry of LDIF.
fn entry(text: &str) -> Entry {
    let mut entry = Entry::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.strip_prefix(':').unwrap_or(value).trim();
        entry.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    entry
}

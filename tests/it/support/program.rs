//! Runs the real program, as signals, standard output and memory are a process's own.
//!
//! Must not look into it: what is seen are its ports, its files and its end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{RawClient, within};

/// The program, serving.
pub(crate) struct Program {
    /// `None` once it was told to end.
    pub(crate) child: Option<Child>,
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    /// Starts it with this configuration, which must name free ports (`127.0.0.1:0`) and say no `drain_delay` of seconds;
    /// `{folder}` in it stands for a folder of the program's own.
    pub(crate) fn serve(config: &str, stdout: Stdio) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config.replace("{folder}", &folder.path().display().to_string())).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .arg("--config")
            .arg(&path)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut said) = (String::new(), String::new());
        while !line.contains("serving at http://") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended: {said}");
            said.push_str(&line);
        }
        // Its other lines are read, so that they block nobody.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let after = |mark: &str| -> SocketAddr {
            let rest = &line[line.find(mark).unwrap() + mark.len()..];
            rest.split('/').next().unwrap().parse().unwrap()
        };
        let (address, admin) = (after("serving at http://"), after("operators at http://"));
        Program { child: Some(child), folder, address, admin }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let child = self.child.as_ref().unwrap();
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// All metrics, by name with labels as they stand in the text.
    pub(crate) async fn metrics(&self) -> BTreeMap<String, f64> {
        let mut client = RawClient::connect(self.admin).await;
        client.write(format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", self.admin).as_bytes()).await;
        let text = String::from_utf8(client.answer().await.body).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        samples.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
    }

    /// Ends it in peace; what it wrote is in the folder.
    pub(crate) async fn end(mut self) -> TempDir {
        self.signal("-TERM");
        let mut child = self.child.take().unwrap();
        let ended = within("the program to end", tokio::task::spawn_blocking(move || child.wait())).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0));
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Program {
    /// A test that failed leaves no program behind.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

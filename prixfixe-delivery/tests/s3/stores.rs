//! moto and SeaweedFS, looked into with boto3.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use prixfixe_test_support::{PATIENCE, has, python_with, run, unused_port, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use tokio::task::JoinHandle;

use super::*;

/// A store that runs, with an empty bucket `mail`.
struct Store {
    endpoint: String,
    python: PathBuf,
    child: Child,
    /// All that it listens on.
    ports: Vec<u16>,
    _folder: tempfile::TempDir,
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What SeaweedFS leaves behind.
        for port in &self.ports {
            for service in [
                "filer",
                "filer-grpc",
                "master-grpc",
                "s3",
                "s3-grpc",
                "volume-grpc",
            ] {
                let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{service}-{port}.sock"));
            }
        }
    }
}

/// What boto3 says of the bucket: a line for each object, and then whether each pair is one.
const LOOK: &str = r#"
import sys, json, hashlib, boto3, botocore.config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="key", aws_secret_access_key="secret",
    region_name="us-east-1", config=botocore.config.Config(s3={"addressing_style": "path"}))
what = sys.argv[2]
if what == "create":
    s3.create_bucket(Bucket="mail")
elif what == "delete":
    s3.delete_object(Bucket="mail", Key=sys.argv[3])
elif what == "clear":
    for it in s3.list_objects_v2(Bucket="mail").get("Contents", []):
        s3.delete_object(Bucket="mail", Key=it["Key"])
elif what == "uploads":
    print(len(s3.list_multipart_uploads(Bucket="mail").get("Uploads", [])))
else:
    get = lambda key: s3.get_object(Bucket="mail", Key=key)
    for it in sorted(it["Key"] for it in s3.list_objects_v2(Bucket="mail").get("Contents", [])):
        if not it.endswith(".json"):
            continue
        side = json.loads(get(it)["Body"].read())
        mail = get(it[:-5] + ".eml")
        data = mail["Body"].read()
        assert hashlib.sha256(data).hexdigest() == side["sha256"], it
        assert f"id {side['id']}".encode() in data, it
        assert mail["ContentType"] == "message/rfc822", mail
        assert mail["Metadata"]["prixfixe-id"] == side["id"], mail
        print(it[:-5], len(data) > side["size"], *side["envelope"]["to"], side["envelope"]["peer"])
    print("objects", len(s3.list_objects_v2(Bucket="mail").get("Contents", [])))
"#;

impl Store {
    /// It stands still, and says nothing, for a moment.
    async fn freeze(&self) {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::STOP).expect("it is there");
        tokio::time::sleep(Duration::from_secs(1)).await;
        kill_process(process, Signal::CONT).expect("it is there");
    }

    fn look(&self, what: &[&str]) -> String {
        let mut command = Command::new(&self.python);
        command.args(["-c", LOOK, &self.endpoint]).args(what);
        run(&mut command)
    }

    fn pairs(&self) -> String {
        self.look(&["pairs"])
    }

    fn started(mut command: Command, port: u16, folder: tempfile::TempDir) -> Option<Self> {
        let python = python_with("boto3")?;
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let err = log.try_clone().expect("a file");
        command.stdin(Stdio::null()).stdout(log).stderr(err);
        let child = command.spawn().expect("the store runs");
        let store = Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            python,
            child,
            ports: Vec::new(),
            _folder: folder,
        };
        wait_until("the store listens", || {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        Some(store)
    }

    fn moto() -> Option<Self> {
        if !has("moto_server") {
            return None;
        }
        let port = port();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let store = Self::started(command, port, tempfile::tempdir().expect("a folder"))?;
        store.look(&["create"]);
        Some(store)
    }

    fn seaweedfs() -> Option<Self> {
        if !has("weed") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("s3.json");
        let identity = r#"{"identities": [{"name": "mx", "credentials": [{"accessKey": "key", "secretKey": "secret"}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}"#;
        std::fs::write(&config, identity).expect("a file");
        let port = port();
        let mut command = Command::new("weed");
        command.args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-volume.max=20",
            // Else it takes nothing while the disk is fuller than 99 %.
            "-volume.minFreeSpace=16MiB",
        ]);
        command.args(["-master.volumeSizeLimitMB=64", "-s3", "-s3.port.iceberg=0"]);
        command.args([
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            // It waits so long for other masters, of which there are none.
            "-master.electionTimeout=1s",
            "-master.heartbeatInterval=200ms",
        ]);
        let mut ports = Vec::new();
        for service in ["master.port", "volume.port", "filer.port", "s3.port"] {
            let own = if service == "s3.port" {
                port
            } else {
                self::port()
            };
            let grpc = self::port();
            command.arg(format!("-{service}={own}"));
            command.arg(format!("-{service}.grpc={grpc}"));
            ports.extend([own, grpc]);
        }
        command.arg(format!("-s3.config={}", config.display()));
        command.arg(format!("-dir={}", folder.path().display()));
        command.current_dir(folder.path());
        let mut store = Self::started(command, port, folder)?;
        store.ports = ports;
        // It listens before it can keep anything.
        let is_there = || {
            let mut command = Command::new(&store.python);
            command.args(["-c", LOOK, &store.endpoint, "create"]);
            command.output().is_ok_and(|output| output.status.success())
        };
        wait_until("the store has a bucket", is_there);
        Some(store)
    }
}

fn port() -> u16 {
    unused_port(Ipv4Addr::LOCALHOST).expect("a port")
}

/// All that holds for each store.
async fn check(store: &Store) {
    a_message_is_a_pair_and_a_repeat_is_none(store).await;
    what_is_left_of_a_pair_becomes_whole_again(store).await;
    a_large_message_is_stored_in_parts(store).await;
    each_domain_may_have_a_pair(store).await;
    attempts_at_once_leave_one_pair(store).await;
    a_bucket_that_is_missing_is_named(store).await;
}

async fn a_message_is_a_pair_and_a_repeat_is_none(store: &Store) {
    let target = open(&store.endpoint, |_| {});
    let recipients = ["bob@example.org", "carl@example.net"];
    let stored = send(&target, &recipients, content("one")).await;
    let words =
        |it: &Result<Delivered, Failure>| it.clone().expect("stored").detail.expect("words");
    assert!(
        stored.iter().all(|it| words(it).ends_with(".eml, stored")),
        "{stored:?}"
    );
    let again = send(&target, &recipients, content("one")).await;
    assert!(
        again.iter().all(|it| words(it).ends_with("there already")),
        "{again:?}"
    );
    let pairs = store.pairs();
    assert!(pairs.starts_with("in/"), "{pairs}");
    assert!(
        pairs.contains(" True bob@example.org carl@example.net 192.0.2.1:40112"),
        "{pairs}"
    );
    assert!(pairs.ends_with("objects 2\n"), "{pairs}");
    assert!(target.health().fault().is_none());
    store.look(&["clear"]);
}

async fn what_is_left_of_a_pair_becomes_whole_again(store: &Store) {
    let target = open(&store.endpoint, |_| {});
    for gone in [".json", ".eml"] {
        let stored = send_one(&target, content("left")).await.expect("stored");
        let words = stored.detail.expect("words");
        let (key, _) = words.split_once(".eml").expect("a key");
        store.look(&["delete", &format!("{key}{gone}")]);
        send_one(&target, content("left")).await.expect("stored");
        let pairs = store.pairs();
        assert!(pairs.ends_with("objects 2\n"), "{gone}: {pairs}");
    }
    store.look(&["clear"]);
}

async fn a_large_message_is_stored_in_parts(store: &Store) {
    let target = open(&store.endpoint, |_| {});
    assert!(large("large").len() > 16 << 20);
    let stored = send_one(&target, large("large")).await.expect("stored");
    assert!(stored.detail.expect("words").ends_with("stored"));
    let again = send_one(&target, large("large")).await.expect("stored");
    assert!(again.detail.expect("words").ends_with("there already"));
    let pairs = store.pairs();
    assert!(pairs.ends_with("objects 2\n"), "{pairs}");
    assert_eq!(store.look(&["uploads"]), "0\n");
    store.look(&["clear"]);
}

async fn each_domain_may_have_a_pair(store: &Store) {
    let target = open(&store.endpoint, |options| {
        options.key = "{domain}/{digest}".to_owned();
    });
    let recipients = ["bob@example.org", "carl@Example.net", "dora@EXAMPLE.org"];
    let stored = send(&target, &recipients, content("domains")).await;
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    let pairs = store.pairs();
    let lines: Vec<&str> = pairs.lines().collect();
    assert!(lines[0].starts_with("in/example.net/"), "{pairs}");
    assert!(
        lines[0].ends_with(" carl@Example.net 192.0.2.1:40112"),
        "{pairs}"
    );
    assert!(
        lines[1].ends_with(" bob@example.org dora@EXAMPLE.org 192.0.2.1:40112"),
        "{pairs}"
    );
    assert_eq!(lines[2], "objects 4");
    store.look(&["clear"]);
}

async fn attempts_at_once_leave_one_pair(store: &Store) {
    let target = Arc::new(open(&store.endpoint, |_| {}));
    let attempts: Vec<_> = (0..6)
        .map(|_| {
            let target = Arc::clone(&target);
            tokio::spawn(async move { send_one(&*target, content("once")).await })
        })
        .collect();
    let mut stored = 0;
    for attempt in attempts {
        match attempt.await.expect("it ends") {
            Ok(_) => stored += 1,
            Err(failure) => assert_eq!(failure.reply().code(), 451, "{failure:?}"),
        }
    }
    assert!(stored > 0);
    // A client that was told 451 comes again.
    send_one(&*target, content("once")).await.expect("stored");
    let pairs = store.pairs();
    assert!(pairs.ends_with("objects 2\n"), "{pairs}");
    store.look(&["clear"]);
}

async fn a_bucket_that_is_missing_is_named(store: &Store) {
    let mut options = S3Options::default();
    options.endpoint = Some(store.endpoint.clone());
    options.credentials = Some(S3Credentials {
        access_key_id: "key".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: None,
    });

    let target = S3::open(&"s3://other".parse().unwrap(), options).expect("a target");
    let failure = send_one(&target, content("one")).await.unwrap_err();
    assert!(
        failure.reply().to_string().starts_with("451 4.3.0"),
        "{failure:?}"
    );
    assert!(failure.to_string().contains("NoSuchBucket"), "{failure}");
    assert!(target.health().fault().is_some());
}

/// Eight senders, each of which sends its messages until they are taken: what clients' queues do.
fn senders(store: &Store, work: &async_channel::Receiver<usize>) -> Vec<JoinHandle<()>> {
    let target = Arc::new(open(&store.endpoint, |options| {
        options.timeout = Duration::from_millis(700);
        options.final_timeout = Duration::from_millis(700);
    }));
    let sender = |_| {
        let (target, work) = (Arc::clone(&target), work.clone());
        tokio::spawn(async move {
            while let Ok(index) = work.recv().await {
                let start = std::time::Instant::now();
                while let Err(failure) = send_one(&*target, content(&index.to_string())).await {
                    assert_eq!(failure.reply().code(), 451, "{failure:?}");
                    assert!(start.elapsed() < PATIENCE, "never: {failure:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
    };
    (0..8).map(sender).collect()
}

fn work(messages: usize) -> async_channel::Receiver<usize> {
    let (left, work) = async_channel::unbounded();
    (0..messages).for_each(|index| left.try_send(index).expect("room"));
    work
}

async fn until_left(work: &async_channel::Receiver<usize>, left: usize) {
    while work.len() > left {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto_has_each_message_once_however_often_it_freezes() {
    let Some(store) = Store::moto() else { return };
    let work = work(60);
    let senders = senders(&store, &work);
    for left in [45, 30, 15] {
        until_left(&work, left).await;
        store.freeze().await;
    }
    work.close();
    for sender in senders {
        sender.await.expect("it ends");
    }
    let pairs = store.pairs();
    assert!(pairs.ends_with("objects 120\n"), "{pairs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto_keeps_what_was_acknowledged() {
    let Some(store) = Store::moto() else { return };
    check(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seaweedfs_keeps_what_was_acknowledged() {
    let Some(store) = Store::seaweedfs() else {
        return;
    };
    check(&store).await;
    // It looks at signatures.
    let target = open(&store.endpoint, |options| {
        options.credentials.as_mut().expect("set").secret_access_key = "guess".to_owned();
    });
    let failure = send_one(&target, content("one")).await.unwrap_err();
    assert!(
        failure.reply().to_string().starts_with("451 4.3.0"),
        "{failure:?}"
    );
    let words = failure.to_string();
    assert!(
        words.contains("SignatureDoesNotMatch") && !words.contains("guess"),
        "{words}"
    );
}

//! The image, compose and Kubernetes: what they name is there, and the binary runs with what they
//! set. No container engine is needed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use prixfixe_test_support::{SelfSigned, has, run, wait_until};

use crate::deploy::{self, ADMIN, SMTP, Site, put};
use crate::process::Process;

fn prixfixe(words: &[&str], variables: &[(String, String)], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prixfixe"));
    command
        .env_clear()
        .args(words)
        .envs(variables.iter().cloned())
        .current_dir(folder);
    command
}

/// What `prixfixe check` prints.
fn check(words: &[&str], variables: &[(String, String)], folder: &Path) -> String {
    let words = [&["check"], words].concat();
    let Output {
        status,
        stdout,
        stderr,
    } = prixfixe(&words, variables, folder)
        .output()
        .expect("the binary runs");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

/// The lines of a Dockerfile, continued ones joined, comments left out.
fn dockerfile() -> Vec<String> {
    let text = deploy::read("Dockerfile");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = lines.join("\n").replace("\\\n", " ");
    text.lines().map(ToOwned::to_owned).collect()
}

/// What stands behind an instruction of the Dockerfile's last stage.
fn instruction(name: &str) -> String {
    let lines = dockerfile();
    let start = format!("{name} ");
    let line = lines
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

/// The variables that the image sets.
fn image_variables() -> Vec<(String, String)> {
    let pairs: Vec<_> = instruction("ENV")
        .split_whitespace()
        .map(|pair| pair.split_once('=').expect("NAME=VALUE"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    known(&pairs);
    pairs
}

/// Variables must be ones that there are.
fn known(variables: &[(String, String)]) {
    let guide = fs::read_to_string(deploy::root().join("docs/CONFIGURATION.md")).expect("a guide");
    for (name, _) in variables {
        assert!(guide.contains(&format!("`{name}`")), "there is no {name}");
    }
}

#[test]
fn the_image_runs_what_it_names_with_what_it_sets() {
    let folder = tempfile::tempdir().expect("a folder");
    let binary = "/usr/local/bin/prixfixe";
    assert_eq!(instruction("ENTRYPOINT"), format!("[\"{binary}\"]"));
    assert_eq!(instruction("CMD"), "[\"serve\"]");
    let health = instruction("HEALTHCHECK");
    assert!(
        health.ends_with(&format!("CMD [\"{binary}\", \"health\"]")),
        "{health}"
    );
    let copied = format!("COPY --from=build /out{binary} {binary}");
    assert!(dockerfile().contains(&copied));

    let variables = image_variables();
    let resolved = check(&[], &variables, folder.path());
    for line in [
        "address = \"*:2525\"",
        "listen = \"*:9125\"",
        "target = \"maildir:/mail\"",
    ] {
        assert!(resolved.contains(line), "{line} is not in {resolved}");
    }
    let with_port = [&variables[..], &[("SMTP_PORT".to_owned(), "25".to_owned())]].concat();
    let resolved = check(&[], &with_port, folder.path());
    assert!(resolved.contains("address = \"*:25\""), "{resolved}");
    assert_eq!(instruction("EXPOSE"), format!("{SMTP} {ADMIN}"));
    assert_eq!(instruction("VOLUME"), "/mail");

    // The same, at addresses and in a folder of the test's own.
    let at = Site::new(3).server(0).to_string();
    let here = format!("maildir:{}/mail", folder.path().display());
    let moved: Vec<_> = variables
        .into_iter()
        .map(|(name, value)| {
            let value = match value.as_str() {
                "*" => format!("{at}:{SMTP}"),
                value => value.replace('*', &at).replace("maildir:/mail", &here),
            };
            (name, value)
        })
        .collect();
    let health = || {
        prixfixe(&["health"], &moved, folder.path())
            .output()
            .expect("it runs")
            .status
    };
    assert_eq!(health().code(), Some(1), "nothing runs yet");
    let mut serve = Process::start(
        &mut prixfixe(&["serve"], &moved, folder.path()),
        folder.path().join("log"),
    );
    wait_until("a container that is healthy", || health().success());
    serve.signal(rustix::process::Signal::TERM);
    assert!(serve.wait().success());
    assert_eq!(health().code(), Some(1), "nothing runs any more");
}

#[test]
fn the_image_has_no_debug_information() {
    let lines = dockerfile();
    let build = lines.iter().find(|line| line.contains("cargo build"));
    let build = build.expect("a build");
    assert!(build.contains("cargo build --profile dist"));
    let manifest = std::fs::read_to_string(deploy::path("../Cargo.toml")).expect("a manifest");
    let dist = manifest.split("[profile.dist]").nth(1).expect("a profile");
    let dist = dist.split("[profile.").next().expect("its lines");
    assert!(dist.contains("strip = \"symbols\""), "{dist}");
}

#[test]
fn the_dockerfile_is_well_written() {
    if has("hadolint") {
        run(Command::new("hadolint").arg(deploy::path("Dockerfile")));
    }
}

#[test]
fn the_toolchain_of_the_image_is_the_one_that_is_needed() {
    let manifest = fs::read_to_string(deploy::root().join("Cargo.toml")).expect("a manifest");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .expect("a version")
        .trim_matches('"');
    let from = dockerfile()
        .into_iter()
        .find(|line| line.starts_with("FROM rust:"));
    let from = from.expect("a stage that builds");
    assert!(from.starts_with(&format!("FROM rust:{version}-")), "{from}");
}

#[test]
fn compose_sets_what_the_servers_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = deploy::read("compose.yaml");
    let mut variables = image_variables();
    let set: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("SMTP_"))
        .map(|line| line.split_once(": ").expect("NAME: VALUE"))
        .map(|(name, value)| {
            let value = value.trim_matches('"');
            // A variable of the operator's: its default, or what he must give.
            let default = value
                .split_once(":-")
                .map(|(_, default)| default.trim_end_matches('}'));
            let value = match value.contains(":?") {
                true => "example.com",
                false => default.unwrap_or(value),
            };
            (name.to_owned(), value.to_owned())
        })
        .collect();
    known(&set);
    assert!(set.len() >= 5);
    variables.extend(set);
    let resolved = check(&[], &variables, folder.path());
    for part in [
        "max-connections = 1000",
        "max-connections-per-client = 20",
        "domains = [\"example.com\"]",
        "\"*:2525\"",
        "\"*:2465\"",
        "fd25:25:25::11/128",
        "10.25.25.10/32",
        "mx.example.com",
    ] {
        assert!(resolved.contains(part), "{part} is not in {resolved}");
    }
    // The balancers have the addresses that are trusted, and the servers the names that balancers
    // and Prometheus know.
    for part in [
        "10.25.25.10, ipv6_address: \"fd25:25:25::10\"}",
        "10.25.25.11, ipv6_address: \"fd25:25:25::11\"}",
        "  smtp1:\n",
        "  smtp2:\n",
        "  smtp3:\n",
    ] {
        assert!(text.contains(part), "{part}");
    }
    for line in text.lines().map(str::trim) {
        let mounted = line
            .strip_prefix("- ./")
            .and_then(|rest| rest.split(':').next());
        if let Some(file) = mounted {
            assert!(deploy::path(file).exists(), "{file}");
        }
    }
    // Every container's log is bounded.
    let containers = text.matches("    image: ").count() + 1;
    assert_eq!(text.matches("logging: *logging").count(), containers);
    assert!(text.contains("max-size: 50m") && text.contains("max-file: "));
    if has("docker-compose") {
        let config = || {
            let mut command = Command::new("docker-compose");
            command
                .env_remove("SMTP_ACCEPT_DOMAINS")
                .arg("-f")
                .arg(deploy::path("compose.yaml"))
                .args([
                    "--profile",
                    "nginx",
                    "--profile",
                    "haproxy",
                    "config",
                    "--quiet",
                ]);
            command
        };
        run(config().env("SMTP_ACCEPT_DOMAINS", "example.com"));
        let without = config().output().expect("it runs");
        let said = String::from_utf8_lossy(&without.stderr);
        assert!(
            !without.status.success() && said.contains("set it to your domains"),
            "{said}"
        );
    }
}

#[test]
fn no_command_of_the_guide_takes_mail_for_everybody() {
    let guide = |name| fs::read_to_string(deploy::root().join(name)).expect("a guide");
    let texts = [
        deploy::read("Dockerfile"),
        guide("docs/DEPLOYMENT.md"),
        guide("docs/PRODUCTION.md"),
        guide("docs/tutorial/DOCKER.md"),
    ];
    let commands: Vec<_> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.contains("docker run "))
        .map(ToOwned::to_owned)
        .collect();
    assert!(commands.len() >= 4);
    for command in commands {
        assert!(command.contains("SMTP_ACCEPT_DOMAINS="), "{command}");
    }
}

#[test]
fn the_configurations_to_copy_are_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let guide = fs::read_to_string(deploy::root().join("docs/PRODUCTION.md")).expect("a guide");
    let configurations: Vec<_> = guide
        .split("```toml\n")
        .filter(|block| block.starts_with("domain = "))
        .map(|block| block.split("```").next().expect("its lines"))
        .collect();
    assert_eq!(configurations.len(), 3);
    for configuration in configurations {
        fs::write(folder.path().join("prixfixe.toml"), configuration).expect("a file");
        let resolved = check(&["--config", "prixfixe.toml"], &[], folder.path());
        assert!(
            resolved.contains("domains = [\"example.com\"]"),
            "{resolved}"
        );
    }
}

#[test]
fn kubernetes_gives_a_configuration_that_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = deploy::read("kubernetes/prixfixe.yaml");
    let configuration = deploy::read("kubernetes/prixfixe.toml");
    let here = folder.path().display();
    let configuration = put(&configuration, "\"/tls/", &format!("\"{here}/"));
    fs::write(folder.path().join("prixfixe.toml"), configuration).expect("a file");
    let pair = SelfSigned::new("mx.example.com");
    fs::write(folder.path().join("tls.crt"), pair.certificate_pem).expect("a file");
    fs::write(folder.path().join("tls.key"), pair.key_pem).expect("a file");

    // The image's variables are there too, but for those that the manifest sets to nothing.
    let mut variables = image_variables();
    for (name, value) in &mut variables {
        assert!(
            text.contains(&format!("{{name: {name}, value: \"\"}}")),
            "{name}"
        );
        value.clear();
    }
    let resolved = check(&["--config", "prixfixe.toml"], &variables, folder.path());
    for part in [
        "\"*:2525\"",
        "\"*:2465\"",
        "listen = \"*:9125\"",
        "max-connections-per-client = 20",
        "maildir:/mail/incoming",
    ] {
        assert!(resolved.contains(part), "{part} is not in {resolved}");
    }
    assert!(text.contains("containerPort: 2525") && text.contains("containerPort: 9125"));
    if has("kubernetes-validate") {
        run(Command::new("kubernetes-validate")
            .args(["--strict", "--kubernetes-version", "1.34"])
            .arg(deploy::path("kubernetes/prixfixe.yaml")));
    }
}

/// Files that a kustomization names.
fn named(kustomization: &str, list: &str) -> Vec<String> {
    let (_, rest) = kustomization.split_once(&format!("{list}:\n")).expect(list);
    rest.lines()
        .map_while(|line| line.strip_prefix("  - "))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_kustomizations_name_files_that_are_there() {
    let base = deploy::read("kubernetes/kustomization.yaml");
    let monitoring = deploy::read("kubernetes/monitoring/kustomization.yaml");
    assert!(base.contains("files: [prixfixe.toml]"));
    assert!(base.contains("#   - monitoring"));
    let (base, monitoring) = (named(&base, "resources"), named(&monitoring, "resources"));
    assert_eq!((base.len(), monitoring.len()), (1, 2));
    for file in base {
        assert!(deploy::path("kubernetes").join(file).exists());
    }
    for file in monitoring {
        assert!(deploy::path("kubernetes/monitoring").join(file).exists());
    }
    // kubectl is in no list of packages of the gate.
    if Command::new("kubectl").arg("help").output().is_ok() {
        let built = run(Command::new("kubectl")
            .arg("kustomize")
            .arg(deploy::path("kubernetes")));
        assert!(built.contains("image: registry.example.com/prixfixe:0.1.0"));
        assert!(built.contains("name: prixfixe-") && built.contains("kind: StatefulSet"));
    }
}

#[test]
fn the_rules_of_the_operator_are_those_of_prometheus() {
    let rules = deploy::read("prometheus/alerts.yml");
    let (_, groups) = rules.split_once("\ngroups:\n").expect("groups");
    let expected: Vec<_> = groups
        .lines()
        .map(|line| match line.is_empty() {
            true => String::new(),
            false => format!("  {line}"),
        })
        .collect();
    let rule = deploy::read("kubernetes/monitoring/prometheusrule.yaml");
    let (_, found) = rule.split_once("\n  groups:\n").expect("groups");
    assert_eq!(
        found.trim_end(),
        expected.join("\n").trim_end(),
        "run deploy/kubernetes/monitoring/generate"
    );
}

#[test]
fn one_server_takes_what_its_compose_file_sets() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = deploy::read("compose.single.yaml");
    let mut variables = image_variables();
    for line in text.lines().map(str::trim) {
        if let Some((name, value)) = line.split_once(": ").filter(|_| line.starts_with("SMTP_")) {
            let value = match value.split_once(":-") {
                Some((_, default)) => default.trim_end_matches('}'),
                None if value.contains(":?") => "example.com",
                None => value.trim_matches('"'),
            };
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    known(&variables);
    let resolved = check(&[], &variables, folder.path());
    for part in [
        "domains = [\"example.com\"]",
        "max-connections = 1000",
        "\"*:2525\"",
    ] {
        assert!(resolved.contains(part), "{part} is not in {resolved}");
    }
    assert!(text.contains("max-size: 50m") && text.contains("enable_ipv6: true"));
    if has("docker-compose") {
        let mut command = Command::new("docker-compose");
        command
            .env("SMTP_ACCEPT_DOMAINS", "example.com")
            .arg("-f")
            .arg(deploy::path("compose.single.yaml"))
            .args(["config", "--quiet"]);
        run(&mut command);
    }
}

#[test]
fn logs_go_to_loki_with_labels_of_few_values() {
    let text = deploy::read("compose.logs.yaml");
    for line in text.lines() {
        let mounted = line.trim().strip_prefix("- ./");
        if let Some(file) = mounted.and_then(|it| it.split(':').next()) {
            assert!(deploy::path(file).exists(), "{file}");
        }
    }
    let containers = text.matches("    image: ").count();
    assert_eq!(text.matches("    logging: ").count(), containers);
    let vector = deploy::read("logs/vector.yaml");
    assert!(vector.contains("include_images: [prixfixe]") && vector.contains("unit: prixfixe"));
    let loki = deploy::read("grafana/provisioning/datasources/loki.yml");
    assert!(
        loki.contains("url: http://loki:3100") && vector.contains("endpoint: http://loki:3100")
    );
    // The dashboard asks for the labels that Vector sets, and for messages that the log has.
    let dashboard = deploy::read("grafana/dashboards/prixfixe-log.json");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    let guide = std::fs::read_to_string(deploy::root().join("docs/LOG.md")).expect("the guide");
    for panel in dashboard["panels"].as_array().expect("panels") {
        let query = panel["targets"][0]["expr"].as_str().expect("a query");
        assert!(
            query.contains(r#"{unit="prixfixe", instance=~"$instance"}"#),
            "{query}"
        );
        assert!(query.contains("| json"), "{query}");
    }
    for event in ["`refused`", "`message`"] {
        assert!(guide.contains(event), "{event}");
    }
    if has("docker-compose") {
        let mut command = Command::new("docker-compose");
        command
            .env("SMTP_ACCEPT_DOMAINS", "example.com")
            .args(["-f".into(), deploy::path("compose.yaml")])
            .args(["-f".into(), deploy::path("compose.logs.yaml")])
            .args(["--profile", "nginx", "config", "--quiet"]);
        run(&mut command);
    }
}

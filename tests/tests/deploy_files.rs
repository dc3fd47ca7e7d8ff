//! What stands in `deploy/` is good: by the programs that will read it, and by linters.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use herald_tests::{
    deployed::{folder, told},
    process::binary,
};
use tempfile::TempDir;

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
    let program = program.as_ref();
    let output = Command::new(program).args(arguments).current_dir(folder()).output();
    output.unwrap_or_else(|e| panic!("{}: {e}: tests/install-tools installs it", program.display()))
}

fn good(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where this is not installed: a line that says so.
fn is_there(program: &str, argument: &str) -> bool {
    let there = Command::new(program).arg(argument).output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("SKIPPED: there is no {program} {argument}");
    }
    there
}

fn linter(name: &str) -> PathBuf {
    let folder = env::var_os("LINTERS").map_or_else(|| folder().join("../target/linters/bin"), PathBuf::from);
    folder.join(name)
}

/// Files beneath a folder, by their ending.
fn files(folder: &Path, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    assert!(!found.is_empty(), "no {ending}");
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_image_s_recipe_is_clean_and_its_context_is_whole() {
    good(linter("hadolint"), &["Dockerfile"]);
    // What the ignore file lets through, and nothing else, is a workspace that cargo takes.
    let context = TempDir::new().unwrap();
    let top = folder().join("..");
    for line in read("Dockerfile.dockerignore").lines() {
        let Some(path) = line.strip_prefix('!') else { continue };
        let (from, to) = (top.join(path), context.path().join(path));
        if from.exists() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
            assert!(copied.success());
        }
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = Command::new(cargo)
        .args(["metadata", "--locked", "--offline", "--format-version=1", "--no-deps"])
        .current_dir(context.path())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", told(&metadata));
    let text = String::from_utf8_lossy(&metadata.stdout).into_owned();
    for name in ["\"herald-gateway\"", "\"herald-router\""] {
        assert!(text.contains(name), "{name}");
    }
}

#[test]
fn yaml_is_clean() {
    good(linter("yamllint"), &["--strict", "-c", ".yamllint.yaml", "."]);
}

#[test]
fn compose_is_valid() {
    if is_there("docker", "compose") {
        let secrets = folder().join("secrets");
        let made = !secrets.exists();
        good("./make-secrets", &[]);
        let checked = run("docker", &["compose", "-f", "compose.yaml", "config", "--quiet"]);
        if made {
            fs::remove_dir_all(secrets).unwrap();
        }
        assert!(checked.status.success(), "{}", told(&checked));
    }
}

#[test]
fn manifests_are_valid_as_written_and_as_built() {
    let validate = |file: &str| {
        good(
            linter("kubernetes-validate"),
            &["--strict", "--no-warn", "-k", "1.33", file],
        )
    };
    for file in ["gateway.yaml", "gateway-scaling.yaml", "router.yaml", "network.yaml"] {
        validate(&format!("kubernetes/base/{file}"));
    }
    if is_there("kubectl", "help") {
        let built = good("kubectl", &["kustomize", "kubernetes/overlays/production"]);
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        fs::write(file.path(), &built).unwrap();
        validate(file.path().to_str().unwrap());
        for kind in [
            "Deployment",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
            "NetworkPolicy",
            "ServiceMonitor",
            "PrometheusRule",
        ] {
            assert!(built.contains(&format!("kind: {kind}\n")), "no {kind}");
        }
        assert!(!built.contains("kind: Secret\n"), "a secret is in the repository");
    }
}

#[test]
fn a_kill_comes_after_the_drain() {
    let seconds = |text: &str, before: &str| -> u64 {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(before));
        let found = found.unwrap_or_else(|| panic!("no {before}"));
        found.trim_matches(['"', 's', ' ']).parse().unwrap()
    };
    for (node, goodbye) in [("gateway", 5), ("router", 2)] {
        let drain = seconds(&read(&format!("config/{node}.toml")), "drain = ");
        let unit = seconds(&read(&format!("systemd/herald-{node}.service")), "TimeoutStopSec=");
        let pod = seconds(
            &read(&format!("kubernetes/base/{node}.yaml")),
            "terminationGracePeriodSeconds: ",
        );
        // The hook before the signal is within the grace period too.
        let hook = if node == "gateway" { 5 } else { 0 };
        let compose = read("compose.yaml");
        let (_, part) = compose.split_once(&format!("x-{node}: &{node}")).unwrap();
        let stop = seconds(part, "stop_grace_period: ");
        assert!(
            unit > drain + goodbye && stop > drain + goodbye && pod > drain + goodbye + hook,
            "{node}"
        );
    }
}

#[test]
fn the_configurations_are_good() {
    for node in ["gateway", "router"] {
        // Secrets that exist at the place of deployment only.
        let folder = TempDir::new().unwrap();
        let text = read(&format!("config/{node}.toml")).replace("/run/secrets", folder.path().to_str().unwrap());
        for secret in ["nats-gateway", "nats-router", "herald-token"] {
            fs::write(folder.path().join(secret), "a-secret-of-these-tests-alone-0123456789").unwrap();
        }
        let file = folder.path().join("config.toml");
        fs::write(&file, text).unwrap();
        let mut check = Command::new(binary(&format!("herald-{node}")));
        check.args(["check", "--config"]).arg(file);
        check.env("HERALD_NODE", format!("{node}-1"));
        if node == "gateway" {
            let keys = "[{name = \"backend\", key = \"a-key-of-these-tests-alone\"}]";
            check.env("HERALD_ADMIN__API_KEYS", keys);
        }
        let checked = check.output().unwrap();
        assert!(checked.status.success(), "{node}: {}", told(&checked));
    }
}

#[test]
fn the_balancers_configurations_are_good() {
    good("haproxy", &["-c", "-f", "haproxy.cfg"]);
    // nginx opens its logs and takes its pid even to look: in a folder of its own.
    let here = TempDir::new().unwrap();
    let path = here.path().to_str().unwrap();
    let text = read("nginx.conf").replace("/run/nginx.pid", &format!("{path}/pid"));
    let text = text.replace("/var/log/nginx", path);
    let file = here.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    good(
        "nginx",
        &[
            "-t",
            "-q",
            "-e",
            &format!("{path}/start.log"),
            "-c",
            file.to_str().unwrap(),
        ],
    );
}

#[test]
fn units_are_good() {
    if !is_there("systemd-analyze", "--version") {
        return;
    }
    let here = TempDir::new().unwrap();
    for unit in files(&folder().join("systemd"), ".service") {
        let name = Path::new(&unit).file_name().unwrap().to_str().unwrap().to_owned();
        // The binaries are not installed here.
        let text: String = fs::read_to_string(&unit)
            .unwrap()
            .lines()
            .map(|line| match line.split_once("=/usr/local/bin/") {
                Some((setting, _)) => format!("{setting}=/bin/true\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let copy = here.path().join(&name);
        fs::write(&copy, text).unwrap();
        let verified = run("systemd-analyze", &["verify", "--man=no", copy.to_str().unwrap()]);
        assert!(
            verified.status.success() && verified.stderr.is_empty(),
            "{name}: {}",
            told(&verified)
        );
        for setting in [
            "LimitNOFILE=",
            "TimeoutStopSec=",
            "ExecReload=",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
        ] {
            assert!(
                fs::read_to_string(&unit).unwrap().contains(setting),
                "{name} lacks {setting}"
            );
        }
    }
}

#[test]
fn rules_are_good_and_each_alert_is_tested_and_explained() {
    good(
        "promtool",
        &["check", "rules", "prometheus/alerts.yaml", "prometheus/recording.yaml"],
    );
    good("promtool", &["test", "rules", "prometheus/alerts.test.yaml"]);
    good("promtool", &["check", "config", "prometheus/prometheus.yaml"]);
    let (rules, tests, runbook) = (
        read("prometheus/alerts.yaml"),
        read("prometheus/alerts.test.yaml"),
        read("RUNBOOK.md"),
    );
    let mut names = BTreeSet::new();
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        assert!(names.insert(name), "{name} twice");
        for part in [
            "severity: ",
            "summary: ",
            "description: ",
            "runbook_url: deploy/RUNBOOK.md#",
        ] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        let (_, anchor) = alert.split_once("RUNBOOK.md#").unwrap();
        let anchor = anchor.lines().next().unwrap();
        let headings = runbook.lines().filter_map(|line| line.strip_prefix("## "));
        let explained = headings.map(str::to_lowercase).any(|heading| heading == anchor);
        assert!(explained, "{name}: no part {anchor} in the runbook");
        assert!(
            tests.contains(&format!("alertname=\"{name}\"")) || tests.contains(&format!("alertname: {name}\n")),
            "{name} is not tested"
        );
    }
    assert!(names.len() > 25, "{names:?}");
    for heading in runbook.lines().filter_map(|line| line.strip_prefix("## ")) {
        assert!(
            names.contains(heading),
            "the runbook explains {heading}, which is no alert"
        );
    }
}

#[test]
fn kubernetes_has_the_same_rules() {
    let body = |path: &str| {
        let text = read(path);
        let (_, body) = text.split_once("groups:\n").unwrap();
        body.to_owned()
    };
    let indented = |text: String| -> String {
        let lines = text.lines().map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("  {line}\n")
            }
        });
        lines.collect()
    };
    let expected = indented(body("prometheus/recording.yaml") + &body("prometheus/alerts.yaml"));
    assert!(
        body("kubernetes/base/rules.yaml") == expected,
        "run deploy/kubernetes/make-rules"
    );
}

#[test]
fn secrets_are_made_once_and_closed_to_others() {
    let here = TempDir::new().unwrap();
    let path = here.path().join("secrets");
    let path = path.to_str().unwrap();
    let all = || -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = files(Path::new(path), "")
            .into_iter()
            .map(|file| (file.clone(), fs::read_to_string(file).unwrap()))
            .collect();
        all.sort();
        all
    };
    good("./make-secrets", &[path]);
    let first = all();
    good("./make-secrets", &[path]);
    assert_eq!(all(), first);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "others may look into it");
    let passwords: BTreeSet<&String> = first
        .iter()
        .filter(|(_, text)| text.len() == 48)
        .map(|(_, text)| text)
        .collect();
    assert!(passwords.len() >= 8, "{} of them differ", passwords.len());
    // NATS takes them as they are.
    for file in ["server.conf", "accounts.conf"] {
        fs::copy(folder().join("nats").join(file), Path::new(path).join(file)).unwrap();
    }
    fs::rename(
        Path::new(path).join("nats-users.conf"),
        Path::new(path).join("secrets.conf"),
    )
    .unwrap();
    fs::rename(
        Path::new(path).join("nats-routes.conf"),
        Path::new(path).join("routes.conf"),
    )
    .unwrap();
    let nats = env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into());
    let mut check = Command::new(nats);
    check.arg("-t").arg("-c").arg(Path::new(path).join("server.conf"));
    for (name, value) in [
        ("NATS_NAME", "n1"),
        ("NATS_LISTEN", "\"127.0.0.1:4222\""),
        ("NATS_MONITOR", "\"127.0.0.1:8222\""),
        ("NATS_CLUSTER", "\"127.0.0.1:6222\""),
        ("NATS_STORE", "\"/tmp\""),
        ("NATS_SYNC", "always"),
        ("NATS_MAX_FILE", "1GB"),
    ] {
        check.env(name, value);
    }
    let checked = check.output().unwrap();
    assert!(checked.status.success(), "{}", told(&checked));
}

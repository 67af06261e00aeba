//! The images that the tests start from, each made once.

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::engine::{ask, docker, new_dir, new_name, prefix, program, repository, text};
use crate::harness::process::must;

const PATH: &str = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// In the environment of `make image`: what must not get into an image.
pub(crate) const SECRET: &str = "correct-horse-battery-staple";

/// schemagate: the image that `SCHEMAGATE_TEST_IMAGE` names (say one to be released), or by `make image`.
pub(crate) fn schemagate() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        if let Ok(name) = env::var("SCHEMAGATE_TEST_IMAGE") {
            return name;
        }
        let name = format!("{}:dev", prefix());
        let mut make = program("make");
        make.args(["image", &format!("IMAGE={name}")]);
        for variable in [
            "DATABASE_URL",
            "SCHEMAGATE_DATABASE_URL",
            "PGPASSWORD",
            "CARGO_REGISTRY_TOKEN",
        ] {
            make.env(variable, SECRET);
        }
        must(&mut make);
        name
    })
}

/// Stands for the public image of `PostgreSQL`.
pub(crate) fn postgres() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let base = import("postgres-base", &["postgresql-15"], &[], &[PATH]);
        let name = format!("{}-postgres:dev", prefix());
        let mut build = docker(&["build", "--quiet", "--tag", &name, "--build-arg"]);
        build
            .arg(format!("BASE={base}"))
            .args(["--file", "tests/image/base/postgres.Dockerfile"])
            .arg("tests/image/base");
        must(&mut build);
        name
    })
}

/// Stands for the public image of Node.js; its npm has the packages of the example at hand.
pub(crate) fn node() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let node = found("node");
        // PATH/npm/bin/npm-cli.js
        let npm = found("npm").replace("/bin/npm-cli.js", "");
        let mut packages = vec!["libstdc++6".to_owned()];
        packages.extend([node.as_str(), &npm].into_iter().filter_map(owner));
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        let cache = npm_cache();
        import(
            "node",
            &packages,
            &[&node, &npm, "/usr/bin/npm", &cache],
            &[
                PATH,
                "ENV npm_config_offline=true",
                &format!("ENV npm_config_cache={cache}"),
            ],
        )
    })
}

/// Stands for the public image of Rust: this machine's toolchain, the crates unpacked nowhere yet.
pub(crate) fn rust() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut print = program("rustc");
        let sysroot = text(&must(print.args(["--print", "sysroot"])).stdout);
        let sysroot = sysroot.trim_end();
        let base = import(
            "rust-base",
            &["gcc", "libc6-dev"],
            &[&format!("{sysroot}/bin"), &format!("{sysroot}/lib")],
            &[
                &format!("ENV PATH={sysroot}/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
                "ENV CARGO_HOME=/usr/local/cargo",
                "ENV CARGO_NET_OFFLINE=true",
            ],
        );
        // The crates as they came, in another place than on this machine.
        let name = format!("{}-rust:dev", prefix());
        let home = env::var("CARGO_HOME")
            .unwrap_or_else(|_| format!("{}/.cargo", env::var("HOME").expect("HOME")));
        let context = new_dir("crates");
        fs::write(
            context.join("Dockerfile"),
            format!("FROM {base}\nCOPY registry /usr/local/cargo/registry\n"),
        )
        .expect("a file");
        must(
            Command::new("cp")
                .arg("--archive")
                .arg("--parents")
                .args(["registry/cache", "registry/index"])
                .arg(&context)
                .current_dir(home),
        );
        must(docker(&["build", "--quiet", "--tag", &name]).arg(context));
        name
    })
}

/// An image of installed packages and paths of this machine.
fn import(kind: &str, packages: &[&str], paths: &[&str], changes: &[&str]) -> String {
    let name = format!("{}-{kind}:dev", prefix());
    let mut files = Command::new(repository("tests/image/rootfs"))
        .args(packages)
        .arg("--")
        .args(paths)
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/image/rootfs starts");
    let mut import = docker(&["import"]);
    for change in changes {
        import.args(["--change", change]);
    }
    import
        .args(["-", &name])
        .stdin(files.stdout.take().expect("a pipe"));
    must(&mut import);
    let status = files.wait().expect("its end");
    assert!(
        status.success(),
        "tests/image/rootfs {packages:?}: {status}; run `make setup`"
    );
    name
}

/// Where a program of the PATH really is.
fn found(program: &str) -> String {
    let script = r#"readlink -f "$(command -v "$1")""#;
    let output = must(Command::new("sh").args(["-c", script, "sh", program]));
    let path = text(&output.stdout).trim_end().to_owned();
    assert!(!path.is_empty(), "no {program}: run `make setup`");
    path
}

/// The Debian package that a file belongs to.
fn owner(path: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["--search", path]).output();
    let output = text(&output.ok()?.stdout);
    let package = output.split([':', ',']).next()?;
    (!package.is_empty()).then(|| package.to_owned())
}

/// npm's own cache, filled by installing the example once.
fn npm_cache() -> String {
    let cache = new_dir("npm-cache");
    let app = new_dir("npm-app");
    for file in ["package.json", "package-lock.json"] {
        let from = repository("image/examples/app").join(file);
        fs::copy(from, app.join(file)).expect("a copy");
    }
    must(
        Command::new("npm")
            .args([
                "ci",
                "--omit=dev",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--cache",
            ])
            .arg(&cache)
            .current_dir(app),
    );
    must(Command::new("chmod").args(["-R", "a+rX"]).arg(&cache));
    cache.to_string_lossy().into_owned()
}

/// An image of the examples by its Dockerfile, in a context of its own or the example's.
pub(crate) fn example(dockerfile: &str, args: &[(&str, &str)]) -> String {
    let name = new_name("example");
    let mut build = docker(&["build", "--quiet", "--tag", &name]);
    for (key, value) in args {
        build.args(["--build-arg", &format!("{key}={value}")]);
    }
    let folder = "image/examples/app";
    build.args(["--file", &format!("{folder}/{dockerfile}"), folder]);
    must(&mut build);
    assert!(!ask(&["image", "inspect", "--format", "{{.Id}}", &name]).is_empty());
    name
}

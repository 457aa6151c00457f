# SPDX-License-Identifier: MIT
"""The system that the machines under test run: a Debian tree with systemd and what our programs need, and two kernels with a
small initrd each. Made by mmdebstrap from this machine's own package sources, once, and kept in the cache under a name that
stands for its recipe. No maintainer script runs, so it takes some fifteen seconds; what the scripts would have done is
below."""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import images
import programs

# What is in a tree beside the libraries that our programs are linked to.
PACKAGES = ["base-files", "base-passwd", "dash", "coreutils", "util-linux", "mount", "login", "libc-bin", "grep", "sed", "kmod",
            "procps", "busybox", "curl", "systemd", "systemd-sysv", "udev", "dbus", "grub-common", "libubootenv-tool"]
LEFT_OUT = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/lintian/*",
            "/usr/share/bash-completion/*", "/usr/share/zsh/*", "/usr/share/perl5/*", "/usr/share/bug/*",
            "/usr/share/i18n/*", "/usr/share/grub/*", "/usr/lib/*/gconv/*", "/usr/lib/*/perl*/*", "/lib/udev/hwdb.d/*",
            "/usr/lib/systemd/catalog/*", "/usr/bin/grub-mk*", "/usr/bin/grub-[fgkmrs]*", "/usr/sbin/grub-*"]
# Not compressed in Debian's kernel, so that busybox can load them.
MODULES = ["virtio_net", "virtio_blk", "virtio_pci", "vfat", "nls_ascii", "nls_cp437", "nls_iso8859-1", "efivarfs",
           "dm-verity", "dm-crypt", "xts"]
# softdog: the watchdog of a machine that has no other.
INITRD_MODULES = ["virtio_pci", "virtio_blk", "virtio-rng", "softdog"]
# Each unit and generator is a process or more, and costs under emulation; these do nothing here. On a machine under
# emulation getty-static.service starts five gettys where there is no serial console to ask for one.
MASKED = ["systemd-firstboot.service", "systemd-hwdb-update.service", "systemd-journal-catalog-update.service",
          "systemd-update-done.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
          "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-machine-id-commit.service",
          "ldconfig.service", "e2scrub_reap.service", "e2scrub_all.timer", "fstrim.timer", "dpkg-db-backup.timer",
          "dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
          "sys-kernel-config.mount", "sys-fs-fuse-connections.mount", "proc-sys-fs-binfmt_misc.automount",
          "modprobe@configfs.service", "modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service",
          "modprobe@loop.service", "modprobe@dm_mod.service", "kmod-static-nodes.service", "systemd-binfmt.service",
          "systemd-pstore.service", "systemd-ask-password-console.path", "systemd-ask-password-wall.path",
          "systemd-initctl.socket", "getty-static.service", "getty@tty1.service", "console-getty.service",
          "serial-getty@ttyS0.service", "systemd-random-seed.service", "systemd-repart.service", "systemd-sysext.service",
          "systemd-boot-system-token.service", "systemd-boot-random-seed.service", "systemd-sysctl.service",
          "systemd-modules-load.service", "systemd-tmpfiles-clean.timer", "systemd-user-sessions.service",
          "systemd-journal-flush.service", "systemd-hostnamed.service", "systemd-vconsole-setup.service",
          "systemd-remount-fs.service", "systemd-fsck-root.service"]
# fstab's is the one that a device needs.
GENERATORS_KEPT = ["systemd-fstab-generator"]

INIT = """#!/bin/sh
mount -t devtmpfs d /dev; mount -t proc p /proc; mount -t sysfs s /sys
while read module; do insmod /modules/$module; done < /modules/order
root=
for word in $(cat /proc/cmdline); do case $word in root=*) root=${word#root=};; esac; done
case $root in PARTLABEL=*)
    wanted=${root#PARTLABEL=} tries=0
    while [ $tries -lt 100 ]; do
        for event in /sys/class/block/*/uevent; do
            if grep -qx "PARTNAME=$wanted" $event; then event=${event%/uevent}; root=/dev/${event##*/}; fi
        done
        [ -b "$root" ] && break
        sleep 0.05
        tries=$((tries + 1))
    done
    ;;
esac
tries=0
while [ ! -b "$root" ] && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
mount -t ext4 -o ro "$root" /new || { echo "initrd: $root cannot be mounted"; sleep 1; echo b > /proc/sysrq-trigger; }
mount --move /dev /new/dev; mount --move /proc /new/proc; mount --move /sys /new/sys
exec switch_root /new /sbin/init
"""

PAM = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\nsession sufficient pam_permit.so\n"


class MissingTool(Exception):
    """This machine cannot make a tree; the text says why."""


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout[-3000:]}"
    return done.stdout


def library_packages():
    """The packages of the libraries that our programs are linked to, by what is installed here."""
    listed = run("ldd", programs.MOONSINTERD, programs.MOONSINTER)
    names = set()
    for path in re.findall(r"=> (/\S+)", listed):
        # Where /lib is a link to /usr/lib, dpkg knows a file by one of its two names.
        for name in (path, os.path.realpath(path)):
            names |= {name, name.removeprefix("/usr"), "/usr" + name.removeprefix("/usr")}
    found = subprocess.run(["dpkg-query", "-S", *sorted(names)], capture_output=True, text=True, check=False).stdout
    return sorted({line.split(":")[0] for line in found.splitlines()})


def apt_sources():
    """The lines of sources.list that name Debian itself on this machine, and its release."""
    told = run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT) $(ORIGIN)", "Created-By: Packages")
    keyring = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    signed = f"[signed-by={keyring}] " if keyring.exists() else ""
    lines = sorted({f"deb {signed}{' '.join(words[:3])}" for words in map(str.split, told.splitlines())
                    if len(words) == 4 and words[3] == "Debian"})
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if not lines:
        raise MissingTool("apt knows no package lists of Debian here (apt-get update)")
    return release.get("VERSION_CODENAME", "").strip('"'), lines


def kernel_packages():
    """The packages of two kernels: the newest cloud kernel, which is that of the guests, and another one of the same line,
    or where there is none, of another flavour. Neither is installed here."""
    told = run("apt-cache", "show", "--no-all-versions", "linux-image-cloud-amd64")
    match = re.search(r"^Depends:.*?(linux-image-[0-9][^ ,]*)", told, re.MULTILINE)
    if not match:
        raise MissingTool("apt knows no linux-image-cloud-amd64 here")
    newest = match[1]
    listed = run("apt-cache", "pkgnames", "linux-image-").split()
    line = re.sub(r"[0-9]+-cloud-amd64$", "", newest)
    alike = sorted((name for name in listed if re.fullmatch(re.escape(line) + "[0-9]+-cloud-amd64", name) and name != newest),
                   key=lambda name: int(name.removeprefix(line).split("-")[0]))
    return [newest, alike[-1] if alike else newest.replace("-cloud-", "-")]


class Kernel:
    """One kernel: `image`, `initrd`, its `release` as uname -r has it, and two folders to be laid over the tree: `boot`
    with both files in it, and `modules`."""

    def __init__(self, folder):
        self.boot, self.modules = folder / "boot-layer", folder / "modules-layer"
        self.image, self.initrd = self.boot / "boot" / "vmlinuz", self.boot / "boot" / "initrd.img"
        self.release = next((self.modules / "usr" / "lib" / "modules").iterdir()).name


class GuestTree:
    """`tree`: the root folder, without a kernel; `kernels`: two, the first one is what machines have unless told otherwise."""

    def __init__(self, folder):
        self.tree = folder / "tree"
        self.kernels = [Kernel(folder / f"kernel-{number}") for number in range(2)]


def make_kernel(folder, package):
    """Unpacks the kernel's package into that folder."""
    (folder / "boot-layer" / "boot").mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=scratch)
        run("dpkg-deb", "-x", next(pathlib.Path(scratch).glob("*.deb")), folder / "kernel")
    shutil.copy(next((folder / "kernel" / "boot").glob("vmlinuz-*")), folder / "boot-layer" / "boot" / "vmlinuz")
    run("depmod", "-b", folder / "kernel", version_of(folder))


def version_of(folder):
    return next((folder / "kernel" / "lib" / "modules").iterdir()).name


def module_files(folder, names):
    """The files of these modules and of what they need, in the order to load them in."""
    files = []
    for name in names:
        told = run("modprobe", "-d", folder / "kernel", "-S", version_of(folder), "--show-depends", name)
        files += re.findall(r"^insmod (\S+)", told, re.MULTILINE)
    return list(dict.fromkeys(files))


def make_initrd(folder):
    root = folder / "initrd-root"
    for name in ("bin", "modules", "dev", "proc", "sys", "new"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for name in ("sh", "mount", "switch_root", "insmod", "sleep", "cat", "grep", "sed"):
        (root / "bin" / name).symlink_to("busybox")
    files = module_files(folder, INITRD_MODULES)
    for path in files:
        shutil.copy(path, root / "modules")
    (root / "modules" / "order").write_text("".join(f"{pathlib.Path(path).name}\n" for path in files))
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    run("sh", "-c", f"cd '{root}' && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible | gzip -9n > '{folder}/boot-layer/boot/initrd.img'")
    shutil.rmtree(root)


def make_tree(folder, packages, sources):
    tree = folder / "tree"
    codename, lines = sources
    (folder / "acquire.conf").write_text(run("apt-config", "dump", "Acquire"))
    run("mmdebstrap", "-q", "--mode=root", "--variant=extract", "--format=directory",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", f"--aptopt={folder}/acquire.conf",
        "--include=" + ",".join(packages), *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
        codename, tree, *lines)
    base = tree / "usr" / "share" / "base-passwd"
    etc = tree / "etc"
    shutil.copy(base / "passwd.master", etc / "passwd")
    shutil.copy(base / "group.master", etc / "group")
    (etc / "passwd").write_text((etc / "passwd").read_text().replace("root:*:", "root::"))
    (etc / "passwd").open("a").write("messagebus:x:100:100::/nonexistent:/usr/sbin/nologin\n")
    (etc / "group").open("a").write("messagebus:x:100:\n")
    (tree / "usr" / "bin" / "sh").unlink(missing_ok=True)
    (tree / "usr" / "bin" / "sh").symlink_to("dash")
    for name in ("awk", "ps", "ip", "vi", "less", "find", "xargs", "pidof"):
        if not (tree / "usr" / "bin" / name).exists():
            (tree / "usr" / "bin" / name).symlink_to("busybox")
    run("systemd-sysusers", f"--root={tree}")
    (etc / "pam.d").mkdir(exist_ok=True)
    for name in ("login", "other"):
        (etc / "pam.d" / name).write_text(PAM)
    run("ldconfig", "-r", tree)
    for path in ("var/cache", "var/lib/apt", "var/lib/dpkg", "etc/apt", "etc/dpkg", "etc/cron.daily", "usr/share/perl"):
        shutil.rmtree(tree / path, ignore_errors=True)
    units = etc / "systemd" / "system"
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    generators = etc / "systemd" / "system-generators"
    generators.mkdir(parents=True, exist_ok=True)
    for path in (tree / "usr" / "lib" / "systemd" / "system-generators").iterdir():
        if path.name not in GENERATORS_KEPT:
            (generators / path.name).symlink_to("/dev/null")
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    # One that is there already, and one more process less at each start.
    (etc / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (etc / "hostname").write_text("guest\n")
    (etc / "fstab").write_text("")
    (etc / "mtab").unlink(missing_ok=True)
    (etc / "mtab").symlink_to("../proc/self/mounts")
    for name in ("lock", "run"):
        shutil.rmtree(tree / "var" / name, ignore_errors=True)
        (tree / "var" / name).symlink_to("/run/lock" if name == "lock" else "/run")
    # systemd-logind makes the last one itself where the root can be written.
    for path in ("boot", "data", "var/lib/moonsinter", "run", "var/tmp", "var/lib/systemd/linger"):
        (tree / path).mkdir(parents=True, exist_ok=True)


def add_modules(folder):
    layer, version = folder / "modules-layer", version_of(folder)
    for path in module_files(folder, MODULES):
        target = layer / "usr" / pathlib.Path(path).relative_to(folder / "kernel")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(folder / "kernel" / "lib" / "modules" / version / name, layer / "usr" / "lib" / "modules" / version)
    # depmod looks into /lib/modules, which is a link where the layer lies over the tree.
    (layer / "lib").symlink_to("usr/lib")
    run("depmod", "-b", layer, version)
    (layer / "lib").unlink()


def guest_tree():
    """The tree, made where the cache does not have it. MissingTool where this machine cannot make one."""
    for program in ("mmdebstrap", "apt-get", "dpkg-deb", "depmod", "cpio", "systemd-sysusers"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise MissingTool(f"{program} is not installed (tests/packages --install system)")
    if os.getuid() != 0:
        raise MissingTool("making a root file system needs root")
    packages = sorted({*PACKAGES, *library_packages()})
    sources, kernels = apt_sources(), kernel_packages()
    recipe = pathlib.Path(__file__).read_bytes() + repr((packages, sources, kernels)).encode()
    images.CACHE.mkdir(parents=True, exist_ok=True)
    folder = images.CACHE / f"guest-{hashlib.sha256(recipe).hexdigest()[:16]}"
    with open(images.CACHE / "guest-lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in images.CACHE.glob("guest-*-new"):
                shutil.rmtree(old)
            fresh = pathlib.Path(f"{folder}-new")
            fresh.mkdir()
            make_tree(fresh, packages, sources)
            for number, package in enumerate(kernels):
                make_kernel(fresh / f"kernel-{number}", package)
                add_modules(fresh / f"kernel-{number}")
                make_initrd(fresh / f"kernel-{number}")
                shutil.rmtree(fresh / f"kernel-{number}" / "kernel")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh / "acquire.conf")
            os.rename(fresh, folder)
    return GuestTree(folder)


def install_programs(destination):
    """Our programs, units and settings as `meson install` puts them into a system."""
    run("meson", "install", "-C", programs.BUILD, "--no-rebuild", "--quiet", "--destdir", destination)
    # A folder /lib must not hide the link of that name.
    shutil.copytree(destination / "lib", destination / "usr" / "lib", dirs_exist_ok=True)
    shutil.rmtree(destination / "lib")

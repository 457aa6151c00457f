# SPDX-License-Identifier: MIT
"""A publisher's server for a fleet: nginx with a certificate of the fleet's own authority, which demands the device's
certificate and a header, behind a proxy (tinyproxy) that demands a password."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import web

TINYPROXY = shutil.which("tinyproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")

HEADER_SECRET = "h34der-s3cret"
PROXY_SECRET = "pr0xy-s3cret"
URL_SECRET = "ur1-s3cret"
QUERY_SECRET = "qu3ry-s3cret"
SECRETS = (HEADER_SECRET, PROXY_SECRET, URL_SECRET, QUERY_SECRET)


class Authority:
    """Certificates of one authority in `folder`: .issue("server") makes server.pem and server.key."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
                     "-out", "ca.pem", "-subj", "/CN=fleet", "-days", "2")
        self.pem = self.folder / "ca.pem"

    def openssl(self, *arguments, data=None):
        return subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, input=data).stdout

    def issue(self, name, days=2):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                     "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-extfile", "names", "-days", str(days), "-out", f"{name}.pem")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def pin(self, name):
        """The pin of a certificate's public key, made as moonsinterd.conf(5) says."""
        line = (f"openssl x509 -in {name}.pem -pubkey -noout | openssl pkey -pubin -outform der | "
                "openssl dgst -sha256 -binary | base64")
        done = subprocess.run(line, shell=True, cwd=self.folder, check=True, capture_output=True, text=True)
        return "sha256//" + done.stdout.strip()


class Proxy:
    """tinyproxy, which demands user and password."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.port = web.free_port()
        self.log = self.folder / "log"
        config = self.folder / "tinyproxy.conf"
        config.write_text(f"Port {self.port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogFile \"{self.log}\"\n"
                          f"LogLevel Connect\nBasicAuth device {PROXY_SECRET}\n")
        self.process = subprocess.Popen([TINYPROXY, "-d", "-c", str(config)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, "tinyproxy does not answer"
                time.sleep(0.02)

    def url(self, secret=PROXY_SECRET):
        return f"http://device:{secret}@127.0.0.1:{self.port}"

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Fleet:
    """The server and the proxy, and what a device needs to use them."""

    def __init__(self, folder, make_nginx):
        self.authority = Authority(folder / "authority")
        self.certificate, self.key = self.authority.issue("device")
        server, server_key = self.authority.issue("server")
        self.port = web.free_port()
        self.nginx = make_nginx(f"""
            listen 127.0.0.1:{self.port} ssl;
            ssl_certificate {server};
            ssl_certificate_key {server_key};
            ssl_client_certificate {self.authority.pem};
            ssl_verify_client on;
            location /slow/ {{ alias {folder}/nginx-0/www/; limit_rate 200k; }}
            location / {{ if ($http_x_key != "{HEADER_SECRET}") {{ return 403; }} }}
        """)
        self.proxy = Proxy(folder / "proxy")
        self.pin = self.authority.pin("server")
        self.headers = folder / "headers"
        self.headers.write_text(f"# what the publisher knows us by\nX-Key: {HEADER_SECRET}\n")
        self.headers.chmod(0o600)

    def url(self, image, folder=""):
        """Publishes the image. Returns its address, with user, password and a query, which the server ignores."""
        self.nginx.publish(image)
        return f"https://device:{URL_SECRET}@127.0.0.1:{self.port}/{folder}{image.name}?token={QUERY_SECRET}"

    def options(self, **changes):
        """The options of the command that this server needs, with changes; one that is changed to None is left out."""
        values = {"ca_file": self.authority.pem, "client_certificate": self.certificate, "client_key": self.key,
                  "pinned_public_key": self.pin, "proxy": self.proxy.url(), "header": f"@{self.headers}", **changes}
        return [text for name, value in values.items() if value is not None
                for text in (f"--{name.replace('_', '-')}", str(value))]

    def settings(self, **changes):
        """The keys of the section [Transfer] that this server needs, with changes."""
        return {"CaFile": self.authority.pem, "ClientCertificate": self.certificate, "ClientKey": self.key,
                "PinnedPublicKey": self.pin, "Proxy": self.proxy.url(), "Header": f"@{self.headers}", **changes}

    def stop(self):
        self.proxy.stop()

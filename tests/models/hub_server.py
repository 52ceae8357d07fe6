"""Imitates the Hugging Face hub, its CDN and GitHub's API on loopback, with faults on demand.

    hub_server.py ROOT [CERTIFICATE KEY]

prints "HUB_PORT CDN_PORT PROXY_PORT", then serves until standard input ends. With a certificate hub and CDN speak TLS. The proxy
answers CONNECT, for whatever name with the hub and for 127.0.0.2 with the CDN, and is where /_control and /_log always speak plain HTTP. ROOT/<owner>/<name>/ holds the files of repositories (read anew
with each request), ROOT/releases/<owner>/<name>/<tag>/ the assets of releases. The CDN is another host as well as another port.

POST /_control with a JSON list of faults replaces the faults; GET /_log gives the requests since the last GET, one JSON object a line.
A fault: {"on": "hub" or "cdn", "path": substring, "times": how often (default 1), "skip": requests that pass before, and one of
    "status": 503 (with "headers": {...}), "cut": N bytes and then the connection ends, "stall": N bytes and then nothing,
    "corrupt": true (one byte is another), "short": true (announces and sends less), "long": true (more), "rate": bytes a second,
    "no_range": true (answers 200 with all), "wrong_range": true, "redirect": URL, "body": text instead of the answer}
"""
import hashlib
import json
import os
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = sys.argv[1]
TLS = sys.argv[2:4]
SCHEME = "https" if TLS else "http"
LOCK = threading.Lock()
FAULTS, LOG, SERVERS = [], [], {}
RIGHT_TOKEN, WEAK_TOKEN = "hf_right", "hf_weak"


class Repository:
    """A folder. `.gated` and `.private` in it make it so; `.bare` leaves sizes and names out of its listing."""

    def __init__(self, repo_id):
        self.folder = os.path.join(ROOT, *repo_id.split("/"))
        self.id = repo_id
        self.exists = os.path.isdir(self.folder) and repo_id.count("/") == 1
        self.files = {}
        for folder, folders, names in os.walk(self.folder):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if not name.startswith(".") or name == ".gitattributes":
                    with open(path, "rb") as file:
                        self.files[os.path.relpath(path, self.folder)] = file.read()
        names = {path: self.blob_name(path) for path in self.files}
        self.commit = hashlib.sha1(json.dumps([self.id, names]).encode()).hexdigest()

    def has(self, mark):
        return os.path.exists(os.path.join(self.folder, mark))

    def is_lfs(self, path):
        return path.endswith((".safetensors", ".gguf", ".bin"))

    def sha1(self, path):
        data = self.files[path]
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def blob_name(self, path):
        return hashlib.sha256(self.files[path]).hexdigest() if self.is_lfs(path) else self.sha1(path)

    def sibling(self, path, listed_as=None):
        item = {"rfilename": listed_as or path}
        if not self.has(".bare"):
            item.update(size=len(self.files[path]), blobId=self.sha1(path))
            if self.is_lfs(path):
                item["lfs"] = {"sha256": self.blob_name(path), "size": len(self.files[path]), "pointerSize": 134}
        return item

    def tree_item(self, path):
        item = {"type": "file", "path": path, "size": len(self.files[path]), "oid": self.sha1(path)}
        if self.is_lfs(path):
            item["lfs"] = {"oid": self.blob_name(path), "size": len(self.files[path]), "pointerSize": 134}
        return item

    def info(self):
        return {"_id": "1", "id": self.id, "modelId": self.id, "sha": self.commit, "private": False, "gated": self.has(".gated"),
                "disabled": False, "downloads": 0, "likes": 0, "tags": [], "siblings": [self.sibling(path) for path in self.files]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    side = "hub"

    def log_message(self, *_):
        pass

    # ---- Faults ----

    def take_fault(self):
        with LOCK:
            for fault in FAULTS:
                if fault.get("on", self.side) != self.side or fault["path"] not in self.path or fault.get("times", 1) == 0:
                    continue
                if fault.get("method", self.command) != self.command:
                    continue
                if fault.get("skip", 0) > 0:
                    fault["skip"] -= 1
                    continue
                fault["times"] = fault.get("times", 1) - 1
                return fault
        return {}

    # ---- Answers ----

    def answer(self, status, body=b"", headers=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code, message):
        self.answer(status, {"error": message}, {"X-Error-Code": code, "X-Error-Message": message})

    def send_slowly(self, data, rate):
        step = max(1, min(65536, rate // 50 if rate else 65536))
        for at in range(0, len(data), step):
            self.wfile.write(data[at:at + step])
            if rate:
                time.sleep(step / rate)

    def send_file(self, data, headers, fault):
        begin, whole = 0, len(data)
        asked = self.headers.get("Range")
        if asked and not fault.get("no_range"):
            begin = int(asked.split("=")[1].split("-")[0])
            if begin >= whole:
                self.answer(416, b"", {"Content-Range": f"bytes */{whole}"})
                return
        if fault.get("corrupt"):
            data = data[:whole // 2] + bytes([data[whole // 2] ^ 1]) + data[whole // 2 + 1:]
        if fault.get("short"):
            data = data[:-1]
        if fault.get("long"):
            data = data + b"x"
        body = data[begin:]
        self.send_response(206 if begin else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        if begin:
            first = begin + 1 if fault.get("wrong_range") else begin
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if fault.get("chunked"):
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if "cut" in fault or "stall" in fault:
            self.wfile.write(body[:fault.get("cut", fault.get("stall"))])
            self.wfile.flush()
            if "stall" in fault:
                time.sleep(fault.get("seconds", 60))
            self.close_connection = True
            self.connection.close()
            return
        self.send_slowly(body, fault.get("rate", 0))
        if fault.get("chunked"):
            self.close_connection = True

    # ---- The hub ----

    def authorized(self, repo):
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in (RIGHT_TOKEN, WEAK_TOKEN):
            self.error(401, "", "Invalid credentials in Authorization header")
        elif not repo.exists or (repo.has(".private") and token != RIGHT_TOKEN):
            # As the real one: without a token nobody learns what there is.
            self.error(404 if token else 401, "RepoNotFound", "Repository not found")
        elif repo.has(".gated") and token != RIGHT_TOKEN and "/resolve/" in self.path:
            self.error(403 if token else 401, "GatedRepo", f"Access to model {repo.id} is restricted.")
        else:
            return True
        return False

    def serve_api(self, parts, fault):
        repo = Repository("/".join(parts[:2]))
        if not self.authorized(repo):
            return
        rest = parts[2:]
        revision = urllib.parse.unquote(rest[1]) if len(rest) > 1 else "main"
        if revision not in ("main", "v1/x", repo.commit):
            self.error(404, "RevisionNotFound", "Invalid rev id: " + revision)
        elif rest and rest[0] == "tree":
            self.answer(200, [repo.tree_item(path) for path in repo.files])
        else:
            info = repo.info()
            for path in fault.get("add_files", []):
                info["siblings"].append(repo.sibling("config.json", path))
            for path, members in fault.get("change_files", {}).items():
                for item in info["siblings"]:
                    if item["rfilename"] == path:
                        item.update(members)
            info.update(fault.get("change", {}))
            self.answer(200, info)

    def serve_resolve(self, parts, fault):
        repo = Repository("/".join(parts[:2]))
        if not self.authorized(repo):
            return
        revision, path = urllib.parse.unquote(parts[3]), urllib.parse.unquote("/".join(parts[4:]))
        if revision not in ("main", repo.commit):
            self.error(404, "RevisionNotFound", "Invalid rev id: " + revision)
            return
        if path not in repo.files:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found", "X-Repo-Commit": repo.commit})
            return
        data = repo.files[path]
        headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{repo.blob_name(path)}"', "Accept-Ranges": "bytes"}
        if repo.is_lfs(path):
            host, port = SERVERS["cdn"].server_address
            headers.update({"X-Linked-Etag": f'"{repo.blob_name(path)}"', "X-Linked-Size": str(len(data)),
                            "Location": f"{SCHEME}://{host}:{port}/{repo.id}/{path}?signature=secret"})
            self.answer(302, b"Found. Redirecting", headers)
        else:
            self.send_file(data, headers, fault)

    # ---- GitHub ----

    def serve_github(self, parts, fault):
        folder = os.path.join(ROOT, "releases", *parts[:2])
        tags = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        known = [(tag, name) for tag in tags for name in sorted(os.listdir(os.path.join(folder, tag)))]
        rest = parts[3:]
        if parts[2] == "releases" and len(rest) == 2 and rest[0] == "assets":
            tag, name = known[int(rest[1]) - 1]
            if self.headers.get("Accept") != "application/octet-stream":
                self.answer(200, {"name": name})
                return
            host, port = SERVERS["cdn"].server_address
            target = urllib.parse.quote(f"/releases/{parts[0]}/{parts[1]}/{tag}/{name}")
            self.answer(302, b"", {"Location": f"{SCHEME}://{host}:{port}{target}?signature=secret"})
            return
        tag = tags[-1] if tags and rest == ["latest"] else urllib.parse.unquote(rest[-1]) if rest else None
        if tag not in tags:
            self.answer(404, {"message": "Not Found"})
            return
        assets = []
        for number, (its_tag, name) in enumerate(known, 1):
            if its_tag != tag:
                continue
            with open(os.path.join(folder, tag, name), "rb") as file:
                data = file.read()
            asset = {"id": number, "name": name, "size": len(data), "digest": "sha256:" + hashlib.sha256(data).hexdigest()}
            asset.update(fault.get("asset", {}))
            assets.append(asset)
        answer = {"tag_name": tag, "assets": assets}
        answer.update(fault.get("change", {}))
        self.answer(200, answer)

    # ---- Requests ----

    def control(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with LOCK:
            FAULTS[:] = json.loads(body)
        self.answer(200, b"ok")

    def serve(self):
        if self.path == "/_control":
            return self.control()
        if self.path == "/_log":
            with LOCK:
                lines, LOG[:] = list(LOG), []
            return self.answer(200, "".join(json.dumps(line) + "\n" for line in lines).encode())
        with LOCK:
            LOG.append({"side": self.side, "method": self.command, "path": self.path, "authorization": self.headers.get("Authorization"),
                        "range": self.headers.get("Range"), "agent": self.headers.get("User-Agent")})
        fault = self.take_fault()
        if "wait" in fault:
            time.sleep(fault["wait"])
        if "status" in fault:
            return self.answer(fault["status"], fault.get("body", "").encode(), fault.get("headers"))
        if "redirect" in fault:
            return self.answer(302, b"", {"Location": fault["redirect"]})
        if "body" in fault:
            return self.answer(200, fault["body"].encode())
        if fault.get("drop"):
            self.close_connection = True
            self.connection.close()
            return None
        parts = urllib.parse.urlsplit(self.path).path.strip("/").split("/")
        if self.side == "cdn":
            path = os.path.join(ROOT, *urllib.parse.unquote("/".join(parts)).split("/"))
            if not os.path.isfile(path):
                return self.answer(404)
            with open(path, "rb") as file:
                return self.send_file(file.read(), {"ETag": '"of-the-cdn"'}, fault)
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self.serve_api(parts[2:], fault)
        if len(parts) >= 5 and parts[2] == "resolve":
            return self.serve_resolve(parts, fault)
        if len(parts) >= 4 and parts[0] == "repos":
            return self.serve_github(parts[1:], fault)
        return self.answer(404)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, OSError, ValueError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = serve


class CdnHandler(Handler):
    side = "cdn"


class ProxyHandler(Handler):
    """Tunnels. A fault on "proxy" may refuse one."""

    side = "proxy"

    def do_CONNECT(self):
        with LOCK:
            LOG.append({"side": self.side, "method": "CONNECT", "path": self.path, "authorization": self.headers.get("Authorization"),
                        "proxy_authorization": self.headers.get("Proxy-Authorization")})
        fault = self.take_fault()
        if "status" in fault:
            return self.answer(fault["status"])
        side = "cdn" if self.path.startswith("127.0.0.2:") else "hub"
        with socket.create_connection(SERVERS[side].server_address) as far:
            self.send_response(200)
            self.end_headers()
            ends = [self.connection, far]
            while ready := select.select(ends, [], [], 30)[0]:
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        self.close_connection = True
                        return None
                    ends[end is self.connection].sendall(data)
        return None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


class TlsServer(Server):
    """The handshake is the connection's own thread's business: one that hangs holds up nobody."""

    def finish_request(self, request, client_address):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*TLS)
        with context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


def listen(host, handler, kind=TlsServer if TLS else Server):
    try:
        server = kind((host, 0), handler)
    except OSError:  # no second loopback address
        server = kind(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


SERVERS["hub"], SERVERS["cdn"] = listen("127.0.0.1", Handler), listen("127.0.0.2", CdnHandler)
SERVERS["proxy"] = listen("127.0.0.1", ProxyHandler, Server)
print(*(SERVERS[side].server_address[1] for side in ("hub", "cdn", "proxy")), flush=True)
sys.stdin.read()

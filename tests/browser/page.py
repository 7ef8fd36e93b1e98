#!/usr/bin/env python3
"""Drives a headless Chromium through a list of steps and says what it saw. Python's standard library only.

usage: page.py [STEPS]        STEPS is a JSON list; without it, standard input

Prints one JSON document; README.md beside this file tells of the steps and of what comes back.
Exit code: 0 every step did what it should, 1 a step failed, 2 the steps make no sense or there is no browser.
"""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LIMIT = 10.0  # seconds a step may wait, unless it says "limit"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # /dev/shm of a container is 64 MB: pages crash
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-breakpad",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--force-color-profile=srgb",
    # element.computedName and .computedRole: the rules of a11y.js ask the browser itself.
    "--enable-blink-features=ComputedAccessibilityInfo",
)
VIEWS = {
    "desktop": {"width": 1280, "height": 800},
    "phone": {"width": 390, "height": 844, "scale": 2, "touch": True},
}
# Runs before the page's own scripts, in a world of its own: the page can neither see nor break it.
WATCHER = """
addEventListener('securitypolicyviolation', e => lamplighterSaw(JSON.stringify({kind: 'csp',
    text: `${e.disposition === 'report' ? 'reported' : 'blocked'} by ${e.effectiveDirective}: ${e.blockedURI || 'inline'}`,
    where: `${e.sourceFile || e.documentURI}:${e.lineNumber}`})), true);
new PerformanceObserver(list => { for (const s of list.getEntries()) if (!s.hadRecentInput)
    lamplighterSaw(JSON.stringify({shift: s.value, page: location.href})); }).observe({type: 'layout-shift', buffered: true});
"""


class Usage(Exception):
    """The steps make no sense, or there is nothing to run them in."""


class Failed(Exception):
    """A step did not do what it should."""


class Gone(Failed):
    """The browser ended."""


class Browser:
    """One Chromium with a fresh profile and one page, spoken to over two pipes: fd 3 to it, fd 4 from it."""

    def __init__(self):
        name = os.environ.get("CHROMIUM") or next(filter(shutil.which, BROWSERS), None)
        if not name:
            raise Usage("no Chromium: install it, or name it in CHROMIUM")
        self.profile = tempfile.mkdtemp(prefix="lamplighter-browser-")
        self.ids, self.answers, self.buffer = 0, {}, b""
        self.problems, self.dialogs, self.shifts = [], [], {}
        self.loaded, self.urls, self.script = None, {}, True  # loaded: the loader of the document that has loaded last
        try:
            self._launch(name)
            self._open_page()
        except (OSError, Failed) as e:
            self.close()
            raise Usage(f"{name} does not start: {e}") from None
        except BaseException:
            self.close()
            raise

    def _launch(self, name):
        # Numbers above 4, or one of ours could already sit on 3 or 4 when the child puts its own there.
        theirs_in, self.out, self.inp, theirs_out = (_above_4(fd) for fd in (*os.pipe(), *os.pipe()))

        def put_in_place():
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        flags = [*FLAGS, f"--user-data-dir={self.profile}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses to run as root with its sandbox
        self.log = open(f"{self.profile}/stderr", "wb")
        self.child = subprocess.Popen(
            [name, *flags, "about:blank"], close_fds=False, preexec_fn=put_in_place, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
        os.close(theirs_in)
        os.close(theirs_out)

    def _open_page(self):
        self.session = None
        # Shared and service workers belong to no page.
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True, limit=60,
                  filter=[{"type": "shared_worker"}, {"type": "service_worker"}, {"exclude": True}])
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)
        # Its own workers and frames have consoles of their own.
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        self.call("Runtime.addBinding", name="lamplighterSaw", executionContextName="lamplighter")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCHER, worldName="lamplighter")
        self.view("desktop")

    def close(self):
        if hasattr(self, "child"):
            with contextlib.suppress(Exception):
                self._send("Browser.close", {}, None)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
            self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    # -- the protocol ----------------------------------------------------------------------------------

    def _send(self, method, params, session):
        self.ids += 1
        message = {"id": self.ids, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        try:
            while data:
                data = data[os.write(self.out, data):]
        except BrokenPipeError:
            raise Gone(self._last_words()) from None
        return self.ids

    def call(self, method, limit=30.0, **params):
        number = self._send(method, params, self.session)
        end = time.monotonic() + limit
        while number not in self.answers:
            if time.monotonic() > end:
                raise Failed(f"the browser did not answer {method} in {limit:.0f} s")
            self.pump(end - time.monotonic())
        answer = self.answers.pop(number)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def pump(self, seconds):
        """Takes in what the browser says, waiting at most so long for the first of it."""
        if not select.select([self.inp], [], [], max(0.0, seconds))[0]:
            return
        data = os.read(self.inp, 1 << 20)
        if not data:
            raise Gone(self._last_words())
        *whole, self.buffer = (self.buffer + data).split(b"\0")
        for text in whole:
            message = json.loads(text)
            if "id" in message:
                self.answers[message["id"]] = message
            else:
                self._event(message["method"], message["params"], message.get("sessionId"))

    def _last_words(self):
        with open(f"{self.profile}/stderr", encoding="utf-8", errors="replace") as f:
            return " | ".join(["the browser ended", *f.read().splitlines()[-3:]])

    def until(self, limit, what, look):
        """Looks until there is something to see."""
        end, self.why = time.monotonic() + limit, ""
        while True:
            seen = look()
            if seen:
                return seen
            if time.monotonic() > end:
                raise Failed(f"{what}: not within {limit:g} s" + (f" ({self.why})" if self.why else ""))
            self.pump(0.03)

    # -- what the page complains about -----------------------------------------------------------------

    def _problem(self, kind, text, where=""):
        self.problems.append({"kind": kind, "text": text, "where": where})

    def _event(self, method, p, session):
        if method == "Runtime.bindingCalled":
            saw = json.loads(p["payload"])
            if "shift" in saw:
                self.shifts[saw["page"]] = self.shifts.get(saw["page"], 0.0) + saw["shift"]
            else:
                self.problems.append(saw)
        elif method == "Runtime.consoleAPICalled":
            if p["type"] in ("error", "warning", "assert"):
                words = [str(a.get("value", a.get("description", a["type"]))) for a in p["args"]]
                self._problem(f"console.{p['type']}", " ".join(words), _where(p.get("stackTrace")))
        elif method == "Runtime.exceptionThrown":
            d = p["exceptionDetails"]
            text = d.get("exception", {}).get("description") or d["text"]
            self._problem("exception", text.splitlines()[0], f"{d.get('url', '')}:{d['lineNumber'] + 1}")
        elif method == "Log.entryAdded":
            self._log_entry(p["entry"])
        elif method == "Network.requestWillBeSent":
            self.urls[p["requestId"]] = p["request"]["url"]
        elif method == "Network.responseReceived":
            if p["response"]["status"] >= 400:
                self._problem("http", str(p["response"]["status"]), p["response"]["url"])
        elif method == "Network.loadingFailed":
            # Cancelled is what leaving a page does to its streams; "csp" is told by the violation itself.
            if not p.get("canceled") and p.get("blockedReason") != "csp":
                self._problem("network", p["errorText"], self.urls.get(p["requestId"], ""))
        elif method == "Page.lifecycleEvent" and session == self.session:
            if p["name"] == "load":
                self.loaded = p["loaderId"]
        elif method == "Page.javascriptDialogOpening":
            # It stands still until somebody answers. A script cannot wait here, so the answer is yes.
            self.dialogs.append({"type": p["type"], "text": p["message"]})
            self._send("Page.handleJavaScriptDialog", {"accept": True}, self.session)
        elif method == "Target.attachedToTarget" and p["sessionId"] != self.session:
            for domain in ("Runtime", "Log", "Network"):
                self._send(f"{domain}.enable", {}, p["sessionId"])

    def _log_entry(self, e):
        if e["level"] not in ("error", "warning") or e["source"] == "network":
            return  # a failed request is told, better, by the Network events
        # The violation event says it with file and line; without script there is no event.
        if "violates the following" in e["text"] and "Content Security Policy" in e["text"]:
            if self.script:
                return
            self._problem("csp", e["text"], e.get("url", ""))
        else:
            self._problem(f"log.{e['source']}", e["text"], e.get("url", ""))

    # -- the steps: one method each, named as in the script --------------------------------------------

    def goto(self, url, limit=30.0):
        answer = self.call("Page.navigate", url=url, limit=limit)
        if answer.get("errorText"):
            raise Failed(f"{url}: {answer['errorText']}")
        # No loader: only the #fragment changed, nothing loads. The page before may still tell that it has loaded.
        if loader := answer.get("loaderId"):
            self.until(limit, f"{url} loaded", lambda: self.loaded == loader)
        return self.eval("({url: location.href, title: document.title, "
                         "status: performance.getEntriesByType('navigation')[0]?.responseStatus})")

    def reload(self, _, limit=30.0):
        return self.goto(self.eval("location.href"), limit)

    def cookie(self, cookie):
        if "url" not in cookie and "domain" not in cookie:
            cookie = {"url": self.eval("location.href"), **cookie}
        if not self.call("Network.setCookie", **cookie)["success"]:
            raise Failed("the browser refused the cookie")

    def headers(self, headers):
        self.call("Network.setExtraHTTPHeaders", headers=headers)

    def insecure(self, yes):
        self.call("Security.setIgnoreCertificateErrors", ignore=yes)

    def offline(self, yes):
        self.call("Network.emulateNetworkConditions", offline=yes, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def javascript(self, on):
        self.script = on
        self.call("Emulation.setScriptExecutionDisabled", value=not on)

    def view(self, view):
        if isinstance(view, str):
            if view not in VIEWS:
                raise Usage(f"view: there is {', '.join(VIEWS)}, or give width and height")
            view = VIEWS[view]
        self.touch = view.get("touch", False)
        self.call("Emulation.setDeviceMetricsOverride", width=view["width"], height=view["height"],
                  deviceScaleFactor=view.get("scale", 1), mobile=self.touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=self.touch)

    def slow(self, times):
        self.call("Emulation.setCPUThrottlingRate", rate=times)

    def media(self, features):
        self.call("Emulation.setEmulatedMedia", features=[{"name": k, "value": v} for k, v in features.items()])

    def eval(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
                           userGesture=True)
        if "exceptionDetails" in answer:
            d = answer["exceptionDetails"]
            raise Failed(d.get("exception", {}).get("description") or d["text"])
        return answer["result"].get("value")

    def _look(self, expression):
        """As eval, but an error only means "not yet": a page that gives way to the next cannot be asked."""
        try:
            return self.eval(expression)
        except Gone:
            raise
        except Failed as e:
            self.why = str(e).splitlines()[0]
            return None

    def wait(self, selector, limit=LIMIT):
        self.until(limit, selector, lambda: self._look(f"!!document.querySelector({json.dumps(selector)})"))

    def wait_gone(self, selector, limit=LIMIT):
        gone = f"({{gone: !document.querySelector({json.dumps(selector)})}})"
        self.until(limit, f"{selector} gone", lambda: (self._look(gone) or {}).get("gone"))

    def wait_text(self, text, limit=LIMIT):
        has = f"!!document.body?.innerText.includes({json.dumps(text)})"
        self.until(limit, f"the text {text!r}", lambda: self._look(has))

    def wait_js(self, expression, limit=LIMIT):
        return self.until(limit, expression, lambda: self._look(expression))

    def pause(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pump(end - time.monotonic())

    def _point(self, selector, limit):
        """Where to hit it, once a person could: it is there, has a size, and nothing lies over it."""
        reason = "is not there"

        def look():
            nonlocal reason
            p = self._look(f"({HIT})({json.dumps(selector)})") or {"no": "is not there"}
            reason = p.get("no", "")
            return None if reason else p

        try:
            return self.until(limit, selector, look)
        except Failed:
            raise Failed(f"{selector} {reason}") from None

    def click(self, selector, limit=LIMIT):
        p = self._point(selector, limit)
        if self.touch:
            self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[p])
            self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            return
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **p)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **p)

    def type(self, selector, text, limit=LIMIT):
        """Replaces what is in the field, as a person who selects all and types."""
        self._point(selector, limit)
        self.eval(f"(e => {{ e.focus(); e.select?.(); }})(document.querySelector({json.dumps(selector)}))")
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.press("Delete")

    def press(self, keys):
        """One or more keys, e.g. "Tab", "Shift+Tab", "Control+k", "g s"."""
        for chord in keys.split(" "):
            *mods, key = chord.split("+") if chord != "+" else [chord]
            bits = sum(MODIFIERS[m] for m in mods)
            name, code, number, text = _key(key)
            event = {"key": name, "code": code, "windowsVirtualKeyCode": number, "modifiers": bits}
            if bits & ~MODIFIERS["Shift"]:
                text = ""  # Control+k is a command, not the letter
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **event)
            self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def screenshot(self, path, full=False):
        if self.script:
            frame = "new Promise(done => requestAnimationFrame(done))"
            self.eval(f"document.fonts.ready.then(() => {frame}).then(() => {frame}).then(() => true)")
        extra = {}
        if full:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            extra = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png", **extra)["data"])
        pathlib.Path(path).write_bytes(png)
        return {"path": path, "bytes": len(png)}

    def a11y(self, _):
        """The problems found, which do not fail the step: the test decides."""
        # Once asked for, the tree of names is kept while this domain is on; else each computedName makes it anew (15 ms).
        self.call("Accessibility.enable")
        self.call("Accessibility.getRootAXNode")
        try:
            return self.eval(pathlib.Path(__file__).with_name("a11y.js").read_text(encoding="utf-8"))
        finally:
            self.call("Accessibility.disable")

    def layout_shift(self, most):
        """Fails when any page so far shifted more than this score."""
        self.pause(0.1)
        for page, score in self.shifts.items():
            if score > most:
                raise Failed(f"{page} shifted by {score:.4f}, more than {most}")

    def clean(self, _):
        """Fails when there was any problem so far."""
        self.pause(0.1)  # let what is on its way arrive
        if self.problems:
            first = self.problems[0]
            raise Failed(f"{len(self.problems)} problems; the first: {first['kind']}: {first['text']} ({first['where']})")

    def forget(self, _):
        """Problems, dialogs and layout shift start anew: those so far were meant."""
        self.pause(0.1)
        self.problems, self.dialogs, self.shifts = [], [], {}


STEPS = ("goto reload cookie headers insecure offline slow javascript view media eval wait wait_gone wait_text wait_js pause click "
         "type press screenshot a11y layout_shift clean forget").split()

HIT = """selector => {
    const e = document.querySelector(selector);
    if (!e) return {no: 'is not there'};
    if (e.disabled) return {no: 'is disabled'};
    // A person may press before the page's scripts are there, and the form is then sent as without scripts.
    if (document.readyState !== 'complete') return {no: 'is on a page that still loads'};
    e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
    const box = [...e.getClientRects()].find(r => r.width && r.height);
    if (!box) return {no: 'has no size'};
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    const top = document.elementFromPoint(x, y);
    if (!top) return {no: 'is outside the window'};
    if (!e.contains(top) && top.closest('label')?.control !== e && !top.contains(e.labels?.[0] ?? null))
        return {no: `is covered by <${top.tagName.toLowerCase()} class="${top.className}">`};
    return {x, y};
}"""

MODIFIERS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}
KEYS = {  # name: (Windows key code, text it types)
    "Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "Backspace": (8, ""), "Delete": (46, ""), "Space": (32, " "),
    "ArrowLeft": (37, ""), "ArrowUp": (38, ""), "ArrowRight": (39, ""), "ArrowDown": (40, ""),
    "Home": (36, ""), "End": (35, ""), "PageUp": (33, ""), "PageDown": (34, ""),
}


def _key(key):
    """(name, code, Windows key code, text) of a key"""
    if key in KEYS:
        number, text = KEYS[key]
        return (" " if key == "Space" else key), key, number, text
    if len(key) != 1:
        raise Usage(f"press: no key is called {key!r}")
    code = f"Key{key.upper()}" if key.isalpha() else f"Digit{key}" if key.isdigit() else ""
    return key, code, ord(key.upper()) if key.isalnum() else 0, key


def _where(stack):
    frame = next(iter((stack or {}).get("callFrames", [])), None)
    return f"{frame['url']}:{frame['lineNumber'] + 1}" if frame else ""


def _above_4(fd):
    """The same pipe under a number of 5 or more, which the child does not inherit."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 5)
    finally:
        os.close(fd)


def read_steps(argv):
    """[(verb, argument, options)]"""
    if len(argv) > 2 or argv[1:] in (["-h"], ["--help"]):
        raise Usage(__doc__.strip())
    try:
        script = json.loads(argv[1] if len(argv) == 2 else sys.stdin.read())
    except json.JSONDecodeError as e:
        raise Usage(f"the steps are not JSON: {e}") from None
    if not isinstance(script, list):
        raise Usage("the steps are not a list")
    steps = []
    for n, step in enumerate(script, 1):
        verbs = [v for v in STEPS if isinstance(step, dict) and v in step]
        if len(verbs) != 1:
            raise Usage(f"step {n} needs exactly one of {', '.join(STEPS)}: {json.dumps(step)}")
        options = {k: v for k, v in step.items() if k != verbs[0]}
        steps.append((verbs[0], step[verbs[0]], options))
    return steps


def run(browser, steps):
    """The results so far, up to the first step that failed, and whether none did."""
    results = []
    for verb, argument, options in steps:
        t0, result = time.monotonic(), {"step": verb, "of": argument}
        results.append(result)
        try:
            result["result"] = getattr(browser, verb)(argument, **options)
        except Failed as e:
            result["error"] = str(e)
        except (TypeError, KeyError) as e:
            raise Usage(f"step {len(results)} ({verb}): {e}") from None
        finally:
            result["ms"] = round((time.monotonic() - t0) * 1000)
        if "error" in result:
            return results, False
    return results, True


def main(argv):
    try:
        steps = read_steps(argv)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the browser and its profile go too
        browser = Browser()
        try:
            results, ok = run(browser, steps)
            with contextlib.suppress(Gone):
                browser.pause(0.1)  # what the last step set off
        finally:
            browser.close()
    except Usage as e:
        print(e, file=sys.stderr)
        return 2
    shifts = {page: round(score, 5) for page, score in browser.shifts.items()}
    report = {"ok": ok, "steps": results, "problems": browser.problems, "dialogs": browser.dialogs, "layout_shift": shifts}
    json.dump(report, sys.stdout, ensure_ascii=False, indent=1)
    print()
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))

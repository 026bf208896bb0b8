"""The kiosk's page in a browser, through the bridge that the systemd units run."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest

from browser import CHROMIUM, Browser
from conftest import Daemon

PROXY = next((path for path in ["/usr/lib/systemd/systemd-socket-proxyd", "/lib/systemd/systemd-socket-proxyd"]
              if os.path.exists(path)), None)
PICTURES = os.environ.get("FILOSCOPE_SCREENSHOTS")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(PROXY is None, reason="no systemd-socket-proxyd on this machine"),
]


@pytest.fixture(scope="module")
def kiosk_and_daemon(tmp_path_factory):
    """The address of a kiosk, and the daemon behind it."""
    folder = tmp_path_factory.mktemp("kiosk")
    settings = folder / "filoscope.json5"
    settings.write_text(json.dumps({"kiosk": {"title": "Flip-book", "prompts": ["a red apple bouncing up and down at night"],
                                              "idle_seconds": 5}}))
    daemon = Daemon(folder, env={"FILOSCOPE_KIOSK": str(folder / "kiosk.sock"), "FILOSCOPE_CONFIG": str(settings)})
    daemon.start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bridge = subprocess.Popen(["systemd-socket-activate", "-l", f"127.0.0.1:{port}", PROXY, str(folder / "kiosk.sock")],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    try:
        yield f"http://localhost:{port}/", daemon
    finally:
        bridge.kill()
        bridge.wait()
        daemon.stop()


@pytest.fixture
def kiosk(kiosk_and_daemon):
    return kiosk_and_daemon[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


def screenshot(browser, name):
    if PICTURES:
        browser.picture(pathlib.Path(PICTURES) / f"{name}.png")


# Pictures that were on the screen, told apart by their addresses.
WATCH = """window.seen = new Set(); new MutationObserver(() => {
    const image = document.getElementById('preview'); if (!image.hidden && image.src) seen.add(image.src);
}).observe(document.getElementById('stage'), {subtree: true, attributes: true}); 0"""


def test_a_prompt_is_typed_and_the_video_plays(kiosk_and_daemon, browser):
    kiosk, daemon = kiosk_and_daemon
    browser.open(kiosk)
    browser.wait("!document.getElementById('words').hidden")
    assert browser.evaluate("document.title") == "Flip-book"
    browser.wait("document.activeElement.id === 'prompt'")
    browser.evaluate(WATCH)
    browser.type("a penguin moving right in the ocean")
    # Keeps the queue busy so that the page listens before its job starts: nano's few steps may be faster than a busy browser.
    before = daemon.create(steps=50, seconds=60)
    browser.press("Enter", 13)
    browser.wait("page.events?.readyState === EventSource.OPEN")
    daemon.json("POST", f"/v1/videos/{before['id']}/cancel", b"")
    browser.wait("seen.size >= 3", 60)
    playing = "(v => !v.hidden && v.readyState === 4 && v.currentTime > 0 && !v.paused && document.getElementById('work').hidden)"
    browser.wait(playing + "(document.getElementById('video'))", 60)
    first = browser.evaluate("document.getElementById('video').currentTime")
    browser.wait(f"document.getElementById('video').currentTime !== {first}")
    assert "a penguin moving right in the ocean" in browser.evaluate("document.getElementById('status').textContent")
    browser.wait("document.querySelectorAll('#videos img').length === 1")
    browser.wait("document.querySelector('#videos img').naturalWidth > 0")
    assert browser.evaluate("document.getElementById('preview').hidden")
    assert browser.complaints() == []
    assert all(address.startswith((kiosk, "data:")) for address in browser.addresses() if address != "about:blank")


def test_a_touch_on_a_word_and_on_a_picture(kiosk, browser):
    browser.open(kiosk, 480, 320)
    browser.wait("!document.getElementById('words').hidden")
    browser.evaluate("document.querySelectorAll('#words button')[1].click()")
    assert browser.evaluate("document.getElementById('prompt').value").strip()
    browser.wait("document.querySelectorAll('#videos button').length > 0")
    browser.evaluate("document.querySelector('#videos button').click()")
    browser.wait("document.getElementById('video').currentTime > 0")
    # Nothing sticks out to the side, and what is touched is large enough for a finger.
    assert browser.evaluate("document.documentElement.scrollWidth") <= 480
    small = browser.evaluate("""[...document.querySelectorAll('button, input')].filter(e => e.offsetParent && e.offsetHeight < 44)
        .map(e => e.outerHTML)""")
    assert small == []


CONTRAST = """(() => {
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const back = (element) => {
    for (; element; element = element.parentElement) {
      const color = parse(getComputedStyle(element).backgroundColor);
      if (color.length < 4 || color[3] > 0.5) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll('h1, h2, label, button, input, p, progress')) {
    if (!element.offsetParent || element.disabled) continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(back(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${element.tagName}#${element.id} ${ratio.toFixed(2)}`);
  }
  return low;
})()"""

# Everything that can be used has a name that a screen reader says.
NAMELESS = """[...document.querySelectorAll('button, input, img, video, progress, section')].filter(e => e.offsetParent &&
    !(e.getAttribute('aria-label') || e.textContent.trim() || e.alt || e.querySelector('img')?.alt ||
      [...(e.labels ?? [])].some(l => l.textContent.trim()))).map(e => e.outerHTML)"""


@pytest.mark.parametrize("width,height", [(480, 320), (1024, 600), (1920, 1080), (600, 1024)])
@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_everywhere(kiosk, browser, width, height, dark):
    browser.open(kiosk, width, height, dark)
    browser.wait("!document.getElementById('words').hidden && document.querySelectorAll('#videos img').length > 0")
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == dark
    browser.wait("document.getElementById('video').readyState === 4")
    assert browser.evaluate(CONTRAST) == []
    assert browser.evaluate(NAMELESS) == []
    assert browser.evaluate("document.documentElement.lang") == "en"
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    screenshot(browser, f"{width}x{height}-{'dark' if dark else 'light'}")


def test_it_attracts_when_nobody_is_there(kiosk, browser):
    browser.open(kiosk, 800, 480)
    browser.wait("document.documentElement.classList.contains('attract')", 20)
    # The operator's prompt is made once and then shown.
    browser.wait("document.getElementById('video').getAttribute('aria-label') === 'a red apple bouncing up and down at night'", 60)
    browser.wait("document.getElementById('video').currentTime > 0")
    screenshot(browser, "attract")
    box = browser.evaluate("(r => [r.width, r.height])(document.getElementById('stage').getBoundingClientRect())")
    assert box == [800, 480]
    browser.press("Tab", 9)
    browser.wait("!document.documentElement.classList.contains('attract')")


def test_a_failure_is_said(kiosk, browser):
    browser.open(kiosk)
    browser.wait("!document.getElementById('words').hidden")
    browser.evaluate("document.getElementById('prompt').value = 'x\\u0007'; document.getElementById('form').requestSubmit()")
    said = browser.wait("document.getElementById('status').classList.contains('bad') && document.getElementById('status').textContent")
    assert "control character" in said
    assert browser.evaluate("document.getElementById('make').disabled") is False


def test_another_page_gets_nothing(kiosk, browser):
    """From a page of another origin: neither read nor sent, and no name of somebody's DNS."""
    browser.open("data:text/html,<title>other</title>")
    port = kiosk.rsplit(":", 1)[1].strip("/")
    before = json.loads(fetch(port, "GET", "/v1/videos?limit=100")[1])["data"]
    for options in ["{}", "{mode: 'no-cors'}", "{mode: 'no-cors', method: 'POST', body: JSON.stringify({prompt: 'evil'})}"]:
        browser.evaluate(f"fetch('{kiosk}v1/videos', {options}).then(r => r.text()).catch(e => 'refused')")
    loaded = browser.evaluate(f"""new Promise(done => {{ const i = new Image(); i.onload = () => done('loaded');
        i.onerror = () => done('refused'); i.src = '{kiosk}v1/videos/{before[0]['id']}/preview.jpg'; }})""")
    assert loaded == "refused"
    assert json.loads(fetch(port, "GET", "/v1/videos?limit=100")[1])["data"] == before
    assert fetch(port, "GET", "/", host=f"rebound.example:{port}")[0] == 403
    assert fetch(port, "DELETE", f"/v1/videos/{before[0]['id']}")[0] == 403


def fetch(port, method, path, host=None):
    """What curl gets, which says nothing of where it comes from."""
    command = [shutil.which("curl"), "-s", "-X", method, "-w", "\n%{http_code}", f"http://localhost:{port}{path}"]
    if host:
        command += ["-H", f"Host: {host}"]
    body, code = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.rsplit("\n", 1)
    return int(code), body

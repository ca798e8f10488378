"""The machine's own browser, for the tests of pages, and pictures of what it shows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from needed import unavailable
from playwright.sync_api import Page, sync_playwright

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Nothing of the browser's own looks for a network.
_QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def open_page(width: int = 1600, height: int = 1200) -> Iterator[Page]:
    """A page of Chromium, which is closed at the end. Skips the test where there is no Chromium."""
    if _CHROMIUM is None:
        unavailable("There is no Chromium on this machine.")
    with ExitStack() as stack:
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=_CHROMIUM, args=_QUIET)
        stack.callback(browser.close)
        yield browser.new_page(viewport={"width": width, "height": height})


def keep(page: Page, name: str, folder: Path) -> Path:
    """Keeps a picture of the page, in the folder that SCREENSHOTS names, which CI uploads; by default in ``folder``."""
    path = Path(os.environ.get("SCREENSHOTS") or folder) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    return path

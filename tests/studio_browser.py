"""Drives the studio's page in headless Chromium through its WebDriver."""

import json
import pathlib
import shutil
import time

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
_FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --window-size=1400,1700".split()
_PATIENCE = 60


class StudioBrowser:
    """One browser on one page; a context manager."""

    def __init__(self, folder: pathlib.Path):
        """Takes a folder for the profile and for downloads."""
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        options = Options()
        options.binary_location = PROGRAM
        for flag in (*_FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        several = "profile.default_content_setting_values.automatic_downloads"
        options.add_experimental_option("prefs", {"download.default_directory": str(self.downloads), several: 1})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def open(self, address):
        """Goes to an address and waits for its picture."""
        self.driver.get("about:blank")
        self.driver.get(address)
        self.wait(lambda: self.picture() and not self.busy(), "a picture")

    def wait(self, condition, what):
        """The first true value of a condition; what is missing for long is an error that names it."""
        ends = time.monotonic() + _PATIENCE
        while True:
            try:
                found = condition()
            except Exception:
                # Parts of the page are exchanged while one looks at them.
                found = None
            if found:
                return found
            assert time.monotonic() < ends, f"waited in vain for {what}"
            time.sleep(0.05)

    def find(self, name):
        return self.driver.find_element(By.ID, name)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, name):
        return self.find(name).text

    def value(self, name):
        return self.find(name).get_attribute("value")

    def click(self, name):
        self.find(name).click()

    def type(self, element, text):
        """Types in the place of what a field holds, and ends with Enter."""
        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(text, Keys.ENTER)

    def busy(self):
        return self.text("busy")

    def picture(self):
        """The address, with its data, of the picture that is shown."""
        script = "const i = document.querySelector('#picture image'); return i && i.getAttribute('href')"
        return self.driver.execute_script(script)

    def after(self, action):
        """Does something and waits until the picture is another one."""
        before = self.picture()
        action()
        self.wait(lambda: self.picture() not in (None, before) and not self.busy(), "another picture")

    def graph(self):
        """The scene graph as it is read out."""
        return self.find("graph-picture").get_attribute("aria-label")

    def click_node(self, place):
        """Clicks an object in the drawn graph."""
        script = (
            "const p = document.getElementById('graph')._cyreg.cy.getElementById(arguments[0]).renderedPosition();"
            "return [p.x, p.y]"
        )
        x, y = self.driver.execute_script(script, f"o{place}")
        element, size = self.find("graph"), self.find("graph").rect
        move = ActionChains(self.driver).move_to_element_with_offset(
            element, x - size["width"] / 2, y - size["height"] / 2
        )
        move.click().perform()

    def drag(self, element, right, down):
        """Pulls an element by pixels."""
        actions = ActionChains(self.driver).move_to_element(element).click_and_hold()
        # In two steps: Plotly takes the first for a click that shook.
        actions.move_by_offset(right // 2, down // 2).move_by_offset(right - right // 2, down - down // 2)
        actions.release().perform()

    def downloaded(self, name):
        """A file that the page gave, when it is whole."""
        path = self.downloads / name
        self.wait(lambda: path.exists() and not list(self.downloads.glob("*.crdownload")), name)
        return path

    def complaints(self):
        """What the page's console says of errors and of its policy."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def asked(self):
        """Addresses that the page asked for, those that hold their own data aside."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        sent = (message for message in messages if message["method"] == "Network.requestWillBeSent")
        addresses = {message["params"]["request"]["url"] for message in sent}
        return {address for address in addresses if not address.startswith(("data:", "blob:", "about:", "chrome:"))}

"""Takes the README's pictures from the running demo, in light and dark: make pictures."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.support.chromium import Demo, launched, press, served_demo

FOLDER = Path(__file__).parent / "pictures"
WIDTH, PIXELS = 600, 1.5  # of the page, in CSS pixels; of the picture for each of them
COLOURS = 24


def take(page: Page, name: str, until: str = "main > :last-child") -> None:
    """The page down to the end of this part."""
    height = page.locator(until).evaluate("part => part.getBoundingClientRect().bottom + 24")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        png = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
        picture = Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        picture.save(FOLDER / f"{name}-{scheme}.png", optimize=True)


def walk(page: Page, demo: Demo) -> None:
    """Maya enrolls, signs out and loses her phone; then Ines opens the settings."""
    demo.give_password(page, "maya@example.com")
    page.get_by_label("Six-digit code").fill(demo.code_for(page, page.locator("#setup-key").text_content() or ""))
    press(page, "Continue")
    page.wait_for_url("**/mfa/recovery-code")
    take(page, "prompt")
    code = page.locator("#recovery-code").text_content() or ""
    finish(page, "Finish setup")
    page.goto(f"{demo.address}/account")
    take(page, "account", until=".sessions + form")
    sign_out(page)

    demo.give_password(page, "maya@example.com")
    page.get_by_role("link", name="Use your recovery code").click()
    page.get_by_label("Recovery code").fill(code)
    take(page, "challenge")

    page.context.clear_cookies()
    demo.give_password(page, "ines@example.com")
    page.get_by_label("Six-digit code").fill(demo.code_of(page, "ines@example.com"))
    press(page, "Sign in")
    finish(page, "Continue")
    page.get_by_role("link", name="Settings").click()
    page.wait_for_url("**/admin/settings")
    take(page, "settings")


def finish(page: Page, button: str) -> None:
    page.get_by_label("I've saved my recovery code").check()
    press(page, button)
    page.wait_for_url("**/account*")


def sign_out(page: Page) -> None:
    page.get_by_role("banner").get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login*")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    with served_demo() as demo, launched() as browser:
        viewport = {"width": WIDTH, "height": 800}
        context = browser.new_context(viewport=viewport, device_scale_factor=PIXELS, reduced_motion="reduce")
        walk(context.new_page(), demo)

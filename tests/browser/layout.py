"""What must hold of any page: no scrolling sideways, no text over another, no broken word."""

from __future__ import annotations

from typing import Any

# Rectangles of all visible text, line by line, cut by what clips or scrolls them.
_TEXTS = """() => {
  const clip = (rect, node) => {
    let {left, right, top, bottom} = rect;
    for (let e = node.parentElement; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (e instanceof SVGElement && !(e instanceof SVGSVGElement)) continue;
      const box = e.getBoundingClientRect();
      if (style.overflowX !== 'visible') {
        left = Math.max(left, box.left);
        right = Math.min(right, box.right);
      }
      if (style.overflowY !== 'visible') {
        top = Math.max(top, box.top);
        bottom = Math.min(bottom, box.bottom);
      }
      if (style.position === 'fixed') break;
    }
    return {left, right, top, bottom};
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node, number = 0; node = walker.nextNode(); number++) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest('script, style, title, option, textarea')) continue;
    if (!parent.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const box = clip(rect, node);
      if (box.right - box.left < 2 || box.bottom - box.top < 2) continue;
      found.push({node: number, text: node.data.trim().slice(0, 60), ...box});
    }
  }
  return found;
}"""

# Words of class names that stand on more than one line. Han and Kana are broken anywhere.
_BROKEN = """() => {
  const broken = [], names = '.class-name, .name, .verdict, figcaption, th.text, .strip > span';
  for (const element of document.querySelectorAll(names)) {
    if (!element.checkVisibility()) continue;
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    for (let node; node = walker.nextNode();) {
      for (const match of node.data.matchAll(/[^\\s_\\/-]+/g)) {
        if (/[\\p{sc=Han}\\p{sc=Hiragana}\\p{sc=Katakana}]/u.test(match[0])) continue;
        const range = document.createRange();
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        const lines = new Set([...range.getClientRects()].map(r => Math.round(r.top)));
        if (lines.size > 1) broken.push(match[0]);
      }
    }
  }
  return broken;
}"""


def overlaps(page: Any, least: float = 2.0) -> list[tuple[str, str]]:
    """Pairs of texts that share more than some pixels in both directions."""
    found = sorted(page.evaluate(_TEXTS), key=lambda one: one["top"])
    pairs = []
    for i, a in enumerate(found):
        for b in found[i + 1 :]:
            if b["top"] > a["bottom"] - least:
                break
            wide = min(a["right"], b["right"]) - max(a["left"], b["left"])
            high = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
            # A text that is cut with an ellipsis has two rectangles.
            if wide > least and high > least and a["node"] != b["node"]:
                pairs.append((a["text"], b["text"]))
    return pairs


def broken_words(page: Any) -> list[str]:
    """Words of class names that are broken over two lines."""
    found: list[str] = page.evaluate(_BROKEN)
    return found


def sideways(page: Any) -> int:
    """By how many pixels the page is wider than the window."""
    found: int = page.evaluate(
        "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"
    )
    return found


def require_sound(page: Any) -> None:
    """Fail where the page, as it is shown now, breaks one of these."""
    found = {"sideways": sideways(page), "overlaps": overlaps(page), "broken": broken_words(page)}
    assert found == {"sideways": 0, "overlaps": [], "broken": []}, found

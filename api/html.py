"""The two pages without a map: the landing page and the documentation. Plain HTML, one style, no script."""

from html import escape
from typing import Any

from api.context import Context
from api.facts import Fact
from layers.contract import Contract

__all__ = ["docs_page", "landing_page"]

_STYLE = """
:root { color-scheme: light dark; --ground: #F6F7F9; --panel: #FFFFFF; --line: #DDE3EA; --text: #17212E;
  --quiet: #55657A; --accent: #0B6BCB; }
@media (prefers-color-scheme: dark) { :root { --ground: #0B1320; --panel: #111C2E; --line: #22324A; --text: #E8EEF6;
  --quiet: #9DB0C8; --accent: #4FB3FF; } }
body { margin: 0; background: var(--ground); color: var(--text); line-height: 1.5;
  font-family: "Noto Sans SC", "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.25; margin: 0; } h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; }
p.lead { color: var(--quiet); margin: .5rem 0 1.5rem; max-width: 46rem; }
a { color: var(--accent); } a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
a.button { display: inline-block; background: var(--accent); color: var(--panel); text-decoration: none;
  padding: .7rem 1.4rem; border-radius: .4rem; margin: 0 .75rem .5rem 0; }
a.plain { display: inline-block; padding: .7rem .4rem; margin-right: .5rem; }
.note { border-left: 3px solid var(--accent); padding: .4rem .9rem; background: var(--panel); display: inline-block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; background: var(--panel); }
th, td { text-align: left; padding: .45rem .75rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 500; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .92em; } small, .quiet { color: var(--quiet); }
"""

_WORDS = {
    "zh": {
        "lead": "一座城市，一个视图：每条记录都是一个地点，带有两种时间和注明的精度。",
        "map": "打开公众地图",
        "other": "English",
        "synthetic": "合成数据 · 仅供演示",
        "unapproved": "内部测试，未经审图",
        "datasets": "数据集",
        "head": "数据集|标题|主管部门|记录数",
        "programs": "供程序使用",
        "docs": "接口文档",
        "parameters": "参数",
    },
    "en": {
        "lead": "One city, one View: every record is a place with two times and a stated accuracy.",
        "map": "Open the public map",
        "other": "中文",
        "synthetic": "Synthetic data · demonstration only",
        "unapproved": "Internal test, map not approved",
        "datasets": "Datasets",
        "head": "Dataset|Title|Department|Records",
        "programs": "For programs",
        "docs": "Interface",
        "parameters": "parameters",
    },
}


def _frame(title: str, lang: str, body: str) -> str:
    language = "zh-CN" if lang == "zh" else "en"
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


def landing_page(context: Context, contracts: list[Contract], known: dict[str, Fact], lang: str) -> str:
    """The landing page in `lang`: what this is, the way to the map, the datasets that the audience may read."""
    words, city = _WORDS[lang], context.city
    title = f"{city.title.of(lang)} · City Twin"
    notes = [words["synthetic"]] if any(fact.synthetic for fact in known.values()) else []
    notes.append(city.map_approval_no or words["unapproved"])
    other = "en" if lang == "zh" else "zh"
    links = " ".join(f'<a class="plain" href="{path}">{path}</a>' for path in ("/collections", "/indicators", "/api"))
    body = (
        f'<h1>{escape(title)}</h1><p class="lead">{words["lead"]}</p>'
        f'<p><a class="button" href="/maps/public?lang={lang}">{words["map"]}</a>'
        f'<a class="plain" href="/docs?lang={lang}">{words["docs"]}</a>'
        f'<a class="plain" href="/?f=html&amp;lang={other}" lang="{other}">{words["other"]}</a></p>'
        f'<p class="note">{" · ".join(map(escape, notes))}</p>'
        f"<h2>{words['programs']}</h2><p>OGC API Features, OGC API Tiles, H3: {links}</p>"
        f"<h2>{words['datasets']} <small>{len(contracts)}</small></h2>{_datasets(context, contracts, known, lang)}"
    )
    return _frame(title, lang, body)


def _datasets(context: Context, contracts: list[Contract], known: dict[str, Fact], lang: str) -> str:
    rows: list[str] = []
    system = ""
    for contract in contracts:
        if contract.system != system:
            system = contract.system
            heading = context.catalog.systems[system].title.of(lang)
            rows.append(f'<tr><th colspan="4" scope="rowgroup">{escape(heading)}</th></tr>')
        rows.append(
            f'<tr><td><a href="/collections/{contract.id}"><code>{contract.id}</code></a></td>'
            f"<td>{escape(contract.title.of(lang))}</td><td>{escape(contract.owner)}</td>"
            f'<td class="number">{known[contract.id].count:,}</td></tr>'
        )
    head = "".join(f'<th scope="col">{word}</th>' for word in _WORDS[lang]["head"].split("|"))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def docs_page(openapi: dict[str, Any], lang: str) -> str:
    """The OpenAPI document as a page: each path with what it does and its parameters."""
    words = _WORDS[lang]
    sections: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["Other"])[0]
            sections.setdefault(tag, []).append(_operation(method, path, operation, words["parameters"]))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in sections.items())
    title = f"{words['docs']} · City Twin"
    return _frame(title, lang, f'<h1>{escape(title)}</h1><p class="lead"><a href="/api">OpenAPI 3.1</a></p>{body}')


def _operation(method: str, path: str, operation: dict[str, Any], heading: str) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{parameter['in']}</td>"
        f"<td>{escape(parameter.get('description', ''))}</td></tr>"
        for parameter in operation.get("parameters", [])
    )
    table = f'<div class="scroll"><table aria-label="{heading}"><tbody>{rows}</tbody></table></div>' if rows else ""
    summary = escape(operation.get("description", ""))
    return f"<h3><code>{method.upper()} {escape(path)}</code></h3><p>{summary}</p>{table}"

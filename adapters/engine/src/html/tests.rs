//! Both parsers make the same tree of every page that the quick one does not leave to the other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use proptest::prelude::*;

use super::{Document, Selector, compare::same};

fn pages(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "html") {
            found.push(String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned());
        }
    }
}

fn known_pages() -> Vec<String> {
    let mut found = Vec::new();
    pages(Path::new("../carriers"), &mut found);
    assert!(found.len() > 20);
    if let Some(folder) = std::env::var_os("WAYBILL_RECORDED") {
        pages(Path::new(&folder), &mut found);
    }
    found
}

#[test]
fn nrm_1_both_parsers_read_known_pages_alike() {
    let all = known_pages();
    let quick = all.iter().filter(|page| same(page)).count();
    #[allow(clippy::print_stdout, reason = "the figure is for whoever reads the test's output")]
    {
        println!("{quick} of {} pages are read by the quick parser", all.len());
    }
    assert!(quick * 2 > all.len(), "only {quick} of {} pages are read by the quick parser", all.len());
}

#[test]
fn nrm_1_both_parsers_agree_on_what_pages_leave_out_and_get_wrong() {
    for (page, quick) in [
        ("", true),
        ("  text &amp; &nbsp;&#8217;&#x80;&notit;&unknown; a<b & c < d", false),
        ("text &amp; &nbsp;&#8217;&#x80;&notit;&unknown; & c < d &#xZ; &#; &AMP &lt", true),
        ("<a href='?a=1&copy=2&amp;b&lt;&para'>x</a>", true),
        ("<table><tr><td>a<td>b<tr><th>c</table>after", true),
        ("<table>text<tr><td>a</table>", false),
        ("<table><tr><td><table><tr><td><b>x</td></tr></table></td><td>y</td></tr></table>", true),
        ("<table><caption>c<b>d</caption><col><colgroup><col></colgroup><thead><tr><th>1</thead><tbody></table>", true),
        ("<p>a<p>b<div>c</p>d</div>e<ul><li>1<li>2<ul><li>3</ul></ul><dl><dt>a<dd>b<dt>c</dl>", true),
        ("<p><b>a</p><p>b", false),
        ("<b><p>x</b>y</p>", false),
        ("<b><i>x</b>y</i>", false),
        ("<b><span>x</b>y</span>z", true),
        ("<!doctype html><p>a<table><tr><td>b</table>", true),
        ("<p>a<table><tr><td>b</table>", true),
        ("<!DOCTYPE html PUBLIC '-//W3C//DTD HTML 3.2//EN'><p>a<table><tr><td>b</table>", false),
        (
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \"http://x/y.dtd\"><p>a<table><tr><td>b</table>",
            true,
        ),
        (
            "<html lang=de><head><title>a &amp; b</title><meta x></head> <script>1 < 2 </b></script><body class=x>y",
            true,
        ),
        ("<head><noscript><img></noscript></head><noscript>a<b></noscript>b", true),
        ("<script><!-- if (a<b) </script>x<script><!-- <script> </script> --></script>y", false),
        ("<textarea>\n\na&amp;<b></textarea><pre>\n\nx</pre><select><option>1<option>2</select>", true),
        ("<!-- a --b -- c --><!--[if IE]><p>x<![endif]--><![if !IE]>y<!-->z-->", false),
        ("<!-- a --b -- c --!>x<![if !IE]>y", true),
        ("<h1>a<h2>b</h3>c<button>d<button>e</button><form><form><p>x</form>y", true),
        ("<form><div></form>x</div>y", true),
        ("<body>a</body> <!-- x --> </html> <!-- y --> tail<p>z", true),
        ("a\r\nb\rc<p title='x\r\ny'>", true),
        ("<input><table><input type=hidden><form><tr><td><input></form></table><hr><br/>x<img/>", true),
        ("<DIV ID=A Class='b c' class=d>X</Div><foo-bar/>y</FOO-BAR>z</nothing>", true),
        ("<svg><path/></svg>", false),
        ("a <", false),
        ("a <b", false),
        ("x</>y", false),
        ("<object><p><b>x</object>y<a href=1>1<a href=2>2", false),
        ("<td>a</td><tr>b<body id=1>", false),
        ("<td>a</td><tr>b", true),
        ("</p></br>", false),
        ("</div></p>x", true),
    ] {
        assert_eq!(same(page), quick, "{page}");
    }
}

#[test]
fn selectors_find_what_the_standard_says() {
    let page =
        "<div id=a class='x  y'><p>1</p><p class=y>2</p><span data-k='V w'>3</span></div><div class=X><p>4</p></div>";
    let document = Document::parse(page).unwrap();
    let found = |css: &str| -> String {
        document.root().select(&Selector::parse(css).unwrap()).map(|node| node.plain_text()).collect()
    };
    for (css, expected) in [
        ("p", "124"),
        ("P.y", "2"),
        ("#a > p:first-child", "1"),
        (".x.y span, div p:last-of-type", "234"),
        ("[data-k~=w]", "3"),
        ("[data-k='v W' i]", "3"),
        ("p + p", "2"),
        ("p:nth-child(2)", "2"),
        ("div:has(> span) p", "12"),
        ("p:not(.y)", "14"),
        (":root > body > div:is(.X)", "4"),
        ("div:empty", ""),
        ("*:where(span)", "3"),
    ] {
        assert_eq!(found(css), expected, "{css}");
    }
    for wrong in ["", "tr[", "p:hover", "p::before", ">p", "a:contains('x')"] {
        assert!(Selector::parse(wrong).is_err(), "{wrong}");
    }
}

/// Pieces that pages are made of, in any order.
fn piece() -> impl Strategy<Value = String> {
    let names = [
        "a", "b", "body", "br", "button", "caption", "col", "colgroup", "dd", "div", "dl", "dt", "font", "form", "h1",
        "h2", "head", "hr", "html", "i", "img", "input", "li", "link", "meta", "object", "ol", "option", "p", "pre",
        "script", "select", "span", "style", "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "title", "tr",
        "ul", "x-y", "noscript",
    ];
    let name = prop::sample::select(names.to_vec());
    prop_oneof![
        6 => name.clone().prop_map(|name| format!("<{name}>")),
        6 => name.clone().prop_map(|name| format!("</{name}>")),
        1 => name.prop_map(|name| format!("<{name} id=1 class='a b' type=hidden>")),
        3 => prop::sample::select(vec![" ", "\n", "x", "a &amp; b", "&nbsp;", "<!-- c -->", "<!doctype html>", "\r\n"])
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nrm_1_both_parsers_agree_on_any_order_of_pieces(pieces in prop::collection::vec(piece(), 0..40)) {
        same(&pieces.concat());
    }

    #[test]
    fn nrm_1_both_parsers_agree_on_damaged_pages(
        pick in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        insert in piece(),
    ) {
        let all = known_pages();
        let page = &all[pick.index(all.len())];
        let cut = |mut at: usize| { while !page.is_char_boundary(at) { at -= 1; } at };
        let from = cut(at.index(page.len() + 1));
        let to = cut((from + length).min(page.len())).max(from);
        same(&format!("{}{insert}{}", &page[..from], &page[to..]));
    }
}

//! The names of elements that the rules of HTML treat apart, and the sets they form there.

/// A name of at most eight bytes as a number; 0 for longer ones. A page has no NULs.
const fn pack(name: &[u8]) -> u64 {
    if name.len() > 8 {
        return 0;
    }
    let (mut packed, mut at) = (0, 0);
    while at < name.len() {
        packed = packed << 8 | name[at] as u64;
        at += 1;
    }
    packed
}

macro_rules! tags {
    ($($tag:ident $name:literal,)*) => {
        /// An element's name, as far as rules ask for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Tag {
            Other,
            $($tag,)*
        }

        impl Tag {
            /// The tag of a name in lower case.
            pub(super) fn of(name: &[u8]) -> Self {
                let packed = pack(name);
                match packed {
                    // Longer ones are rare and told apart as they are.
                    0 => match name {
                        $($name => Self::$tag,)*
                        _ => Self::Other,
                    },
                    $(_ if packed == const { pack($name) } => Self::$tag,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

tags! {
    A b"a", Address b"address", Applet b"applet", Area b"area", Article b"article", Aside b"aside", B b"b", Base b"base",
    Basefont b"basefont", Bgsound b"bgsound", Big b"big", Blockquote b"blockquote", Body b"body", Br b"br",
    Button b"button", Caption b"caption", Center b"center", Code b"code", Col b"col", Colgroup b"colgroup", Dd b"dd",
    Details b"details", Dialog b"dialog", Dir b"dir", Div b"div", Dl b"dl", Dt b"dt", Em b"em", Embed b"embed",
    Fieldset b"fieldset", Figcaption b"figcaption", Figure b"figure", Font b"font", Footer b"footer", Form b"form",
    Frame b"frame", Frameset b"frameset", H1 b"h1", H2 b"h2", H3 b"h3", H4 b"h4", H5 b"h5", H6 b"h6", Head b"head",
    Header b"header", Hgroup b"hgroup", Hr b"hr", Html b"html", I b"i", Iframe b"iframe", Image b"image", Img b"img",
    Input b"input", Isindex b"isindex", Keygen b"keygen", Li b"li", Link b"link", Listing b"listing", Main b"main",
    Marquee b"marquee", Math b"math", Menu b"menu", Meta b"meta", Nav b"nav", Nobr b"nobr", Noembed b"noembed",
    Noframes b"noframes", Noscript b"noscript", Object b"object", Ol b"ol", Optgroup b"optgroup", Option b"option",
    P b"p", Param b"param", Plaintext b"plaintext", Pre b"pre", Rb b"rb", Rp b"rp", Rt b"rt", Rtc b"rtc", S b"s",
    Script b"script", Search b"search", Section b"section", Select b"select", Small b"small", Source b"source",
    Strike b"strike", Strong b"strong", Style b"style", Summary b"summary", Svg b"svg", Table b"table", Tbody b"tbody",
    Td b"td", Template b"template", Textarea b"textarea", Tfoot b"tfoot", Th b"th", Thead b"thead", Title b"title",
    Tr b"tr", Track b"track", Tt b"tt", U b"u", Ul b"ul", Wbr b"wbr", Xmp b"xmp",
}

use Tag as T;

impl Tag {
    pub(super) const fn is_heading(self) -> bool {
        matches!(self, T::H1 | T::H2 | T::H3 | T::H4 | T::H5 | T::H6)
    }

    /// Elements whose styling goes on behind their parent's end until they are closed themselves.
    pub(super) const fn is_formatting(self) -> bool {
        matches!(
            self,
            T::A | T::B
                | T::Big
                | T::Code
                | T::Em
                | T::Font
                | T::I
                | T::Nobr
                | T::S
                | T::Small
                | T::Strike
                | T::Strong
                | T::Tt
                | T::U
        )
    }

    /// Blocks that close an open paragraph and are closed by their own end tag.
    pub(super) const fn is_block(self) -> bool {
        matches!(
            self,
            T::Address
                | T::Article
                | T::Aside
                | T::Blockquote
                | T::Center
                | T::Details
                | T::Dialog
                | T::Dir
                | T::Div
                | T::Dl
                | T::Fieldset
                | T::Figcaption
                | T::Figure
                | T::Footer
                | T::Header
                | T::Hgroup
                | T::Main
                | T::Menu
                | T::Nav
                | T::Ol
                | T::Search
                | T::Section
                | T::Summary
                | T::Ul
        )
    }

    /// Where a look for an open element ends.
    pub(super) const fn bounds_scope(self) -> bool {
        matches!(
            self,
            T::Applet
                | T::Caption
                | T::Html
                | T::Table
                | T::Td
                | T::Th
                | T::Marquee
                | T::Object
                | T::Select
                | T::Template
        )
    }

    /// Elements that end when their parent does.
    pub(super) const fn is_implied_end(self) -> bool {
        matches!(self, T::Dd | T::Dt | T::Li | T::Option | T::Optgroup | T::P | T::Rb | T::Rp | T::Rt | T::Rtc)
    }

    /// Elements that an end tag of an ordinary element does not reach over.
    pub(super) const fn is_special(self) -> bool {
        matches!(
            self,
            T::Address
                | T::Applet
                | T::Area
                | T::Article
                | T::Aside
                | T::Base
                | T::Basefont
                | T::Bgsound
                | T::Blockquote
                | T::Body
                | T::Br
                | T::Button
                | T::Caption
                | T::Center
                | T::Col
                | T::Colgroup
                | T::Dd
                | T::Details
                | T::Dir
                | T::Div
                | T::Dl
                | T::Dt
                | T::Embed
                | T::Fieldset
                | T::Figcaption
                | T::Figure
                | T::Footer
                | T::Form
                | T::Frame
                | T::Frameset
                | T::Head
                | T::Header
                | T::Hgroup
                | T::Hr
                | T::Html
                | T::Iframe
                | T::Img
                | T::Input
                | T::Isindex
                | T::Li
                | T::Link
                | T::Listing
                | T::Main
                | T::Marquee
                | T::Menu
                | T::Meta
                | T::Nav
                | T::Noembed
                | T::Noframes
                | T::Noscript
                | T::Object
                | T::Ol
                | T::P
                | T::Param
                | T::Plaintext
                | T::Pre
                | T::Script
                | T::Section
                | T::Select
                | T::Source
                | T::Style
                | T::Summary
                | T::Table
                | T::Tbody
                | T::Td
                | T::Template
                | T::Textarea
                | T::Tfoot
                | T::Th
                | T::Thead
                | T::Title
                | T::Tr
                | T::Track
                | T::Ul
                | T::Wbr
                | T::Xmp
        ) || self.is_heading()
    }
}

//! State, shown the same way everywhere: a shape, a word and a colour, so that no one of them carries it alone.

use askama::Template;
use askama::filters::HtmlSafe;

/// The outline of a state's icon; its name is the id of a symbol in `templates/sprite.html`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Circle with a tick: as it should be.
    Tick,
    /// Half-filled circle: under way.
    Half,
    /// Clock: waits for an instant or for somebody.
    Clock,
    /// Diamond: look at it some time.
    Diamond,
    /// Triangle: look at it today.
    Triangle,
    /// Octagon: look at it at once.
    Octagon,
    /// Struck-out circle: not heard of.
    Struck,
    /// Empty square: switched off or not running.
    Square,
    /// Arrow that turns back: went back to the old version.
    Back,
    /// Two bars: held by a person.
    Bars,
    /// Dashed circle: does not apply, or not judged.
    Dashed,
}

/// The colour of a state; its name is a class in `tokens.css`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Green.
    Ok,
    /// The accent: something moves by itself.
    Busy,
    /// Yellow.
    Low,
    /// Orange.
    Medium,
    /// Red.
    High,
    /// Grey.
    Muted,
}

impl Shape {
    /// Id of its symbol.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Tick => "s-tick",
            Self::Half => "s-half",
            Self::Clock => "s-clock",
            Self::Diamond => "s-diamond",
            Self::Triangle => "s-triangle",
            Self::Octagon => "s-octagon",
            Self::Struck => "s-struck",
            Self::Square => "s-square",
            Self::Back => "s-back",
            Self::Bars => "s-bars",
            Self::Dashed => "s-dashed",
        }
    }
}

impl Tone {
    /// Its class.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Busy => "busy",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Muted => "muted",
        }
    }
}

/// One state as a person sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Template)]
#[template(path = "mark.html")]
pub struct Mark {
    /// Its icon.
    pub shape: Shape,
    /// Its colour.
    pub tone: Tone,
    /// Its word.
    pub word: &'static str,
}

impl Mark {
    /// A state of this shape, colour and word.
    #[must_use]
    pub const fn new(shape: Shape, tone: Tone, word: &'static str) -> Self {
        Self { shape, tone, word }
    }

    /// The icon alone, for places where the word stands beside it already.
    #[must_use]
    pub fn icon(&self) -> Icon {
        Icon { shape: self.shape, tone: self.tone }
    }
}

/// The icon of a state without its word.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "icon.html")]
pub struct Icon {
    shape: Shape,
    tone: Tone,
}

impl HtmlSafe for Mark {}
impl HtmlSafe for Icon {}

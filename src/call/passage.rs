//! How a call came to its target.

/// Kept up to date while the call is on its way, so that it is known of one that is given up as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// How often it set out for one of the target's addresses.
    pub tries: u32,
    /// Of calls whose answers policy lets be kept.
    pub cache: Option<CacheUse>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// Answered with what the target said before.
    Hit,
    Miss,
}

impl CacheUse {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }
}

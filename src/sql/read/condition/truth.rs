//! What a condition comes to, and how NOT, AND and OR put such answers together.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    Null,
    /// Of constants alone, and not worked out.
    Fixed,
    /// It looks at the row, or at what only the caller knows: a parameter.
    Row,
    /// The row decides, if a constant that is not worked out does not say no beforehand.
    RowAtMost,
    /// The row decides, if a constant that is not worked out does not say yes beforehand.
    RowAtLeast,
}

impl Truth {
    pub fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::RowAtMost => Self::RowAtLeast,
            Self::RowAtLeast => Self::RowAtMost,
            other => other,
        }
    }

    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, truth) | (truth, Self::True) => truth,
            (Self::Null, Self::Null) => Self::Null,
            // Never true; but its opposite may be.
            (Self::Null, Self::Row) | (Self::Row, Self::Null) => Self::Row,
            (Self::Null, _) | (_, Self::Null) => Self::RowAtMost,
            (Self::Fixed | Self::RowAtLeast, Self::Fixed) | (Self::Fixed, Self::RowAtLeast) => Self::Fixed,
            (Self::RowAtLeast, Self::RowAtLeast) => Self::RowAtLeast,
            (Self::Row, Self::Row | Self::RowAtLeast) | (Self::RowAtLeast, Self::Row) => Self::Row,
            (Self::Row | Self::RowAtMost | Self::Fixed | Self::RowAtLeast, _) => Self::RowAtMost,
        }
    }

    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::Fixed, Self::Row) | (Self::Row, Self::Fixed) => Self::RowAtLeast,
            (Self::Fixed, _) | (_, Self::Fixed) => Self::Fixed,
            (Self::RowAtLeast, _) | (_, Self::RowAtLeast) => Self::RowAtLeast,
            (Self::RowAtMost, _) | (_, Self::RowAtMost) => Self::RowAtMost,
            (Self::Row, _) | (_, Self::Row) => Self::Row,
            (Self::Null, _) | (_, Self::Null) => Self::Null,
            (Self::False, Self::False) => Self::False,
        }
    }

    pub fn of(value: Option<bool>) -> Self {
        match value {
            Some(true) => Self::True,
            Some(false) => Self::False,
            None => Self::Fixed,
        }
    }
}

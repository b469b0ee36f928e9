//! Files in, a [`super::Policy`] or every problem out.

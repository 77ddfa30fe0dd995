//! Planted bugs. Each one changes what passes between the engine and its store (`mutant_store`), its systems or the
//! network (`mutant_system`), or what the company's files say. The checks have to catch every one of them: checks that
//! miss a planted bug would miss a real one.

/// A planted bug, as `BUG=` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Nothing is stored before a create is sent.
    SkippedIntent,
    /// The watermark is stored with the first page of a listing instead of its last.
    EarlyCursor,
    /// A worker whose lease was lost goes on as if it still held it.
    ForgottenFence,
    /// A change that arrives while a job of its record is being delivered is dropped.
    DroppedChange,
    /// An object that a full pull no longer finds does not count as gone.
    IgnoredTombstone,
    /// A lost answer counts as a failure, so the create is sent again.
    LostIsFailed,
    /// A job to be retried counts as done.
    LostJob,
    /// The sent value is not stored in addition to the value that the target made of it.
    ForgottenAlteration,
    /// A listing with fewer rows than it announces counts as complete.
    UnprovenListing,
    /// Orders that the source of the stock does not know yet reserve nothing.
    ForgottenReservations,
    /// A field that people may edit at the target is written without reading it first.
    BlindWrite,
    /// Stock on hand counts as available, though some of it is reserved.
    OnHandIsAvailable,
    /// A date in the future moves the watermark there.
    FutureCursor,
    /// The watermark is a local time, also in the hour that a clock change repeats.
    LostHour,
    /// Every amount of an order counts as one in the company's own currency.
    DroppedCurrency,
    /// A create lacks the field that both sides may edit.
    HalfCreate,
    /// An unreadable row counts as absent.
    UnreadableIsAbsent,
    /// A write that is refused because another object has its value is never retried.
    RefusalIsFinal,
    /// The sent value counts as stored, whatever the target made of it.
    AlteredIsDone,
    /// The ids of sub-objects in answers and listings are not stored.
    ForgottenChildren,
    /// Orders of the second shop reserve nothing.
    ReservationsOfOneShop,
    /// An unpaid order counts as paid.
    UnpaidIsPaid,
    /// An unreadable order blocks the stock of every article.
    UnreadableOrderBlocks,
    /// Equal numbers mean the same object, whichever system gave them.
    GlobalNumbers,
    /// A flow that is added later receives only later changes.
    ForgottenJoin,
    /// An id in a target's answer is taken for the record, whichever record it belonged to.
    StolenId,
    /// A child id in a target's answer is taken for the record's child, whichever child it belonged to.
    StolenChild,
    /// A price update ends a sale that people made in the shop.
    SaleWrittenOver,
    /// Values in paths are not encoded.
    RawPaths,
    /// The desired price is not rounded to the precision that its target stores.
    ForgottenPrecision,
    /// A changed match rule skips known customers.
    ForgottenRule,
    /// An erased personal value counts as an edit.
    ErasedIsEdited,
    /// An order's state may go backwards.
    StateRunsBack,
    /// A field that a mapping no longer names still counts.
    StaleField,
}

impl Mutant {
    /// Whether the bug is in the company's files, not in front of the engine.
    pub fn is_in_configuration(self) -> bool {
        matches!(self, Self::ForgottenPrecision | Self::ErasedIsEdited | Self::StateRunsBack | Self::StaleField)
    }

    /// All planted bugs, in the order of their tests.
    pub const ALL: &'static [Self] = &[
        Self::SkippedIntent,
        Self::EarlyCursor,
        Self::ForgottenFence,
        Self::DroppedChange,
        Self::IgnoredTombstone,
        Self::LostIsFailed,
        Self::LostJob,
        Self::ForgottenAlteration,
        Self::UnprovenListing,
        Self::ForgottenReservations,
        Self::BlindWrite,
        Self::OnHandIsAvailable,
        Self::FutureCursor,
        Self::LostHour,
        Self::DroppedCurrency,
        Self::HalfCreate,
        Self::UnreadableIsAbsent,
        Self::RefusalIsFinal,
        Self::AlteredIsDone,
        Self::ForgottenChildren,
        Self::ReservationsOfOneShop,
        Self::UnpaidIsPaid,
        Self::UnreadableOrderBlocks,
        Self::GlobalNumbers,
        Self::ForgottenJoin,
        Self::StolenId,
        Self::StolenChild,
        Self::SaleWrittenOver,
        Self::RawPaths,
        Self::ForgottenPrecision,
        Self::ForgottenRule,
        Self::ErasedIsEdited,
        Self::StateRunsBack,
        Self::StaleField,
    ];
}

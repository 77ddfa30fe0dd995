//! The order of events.

/// Something that happens only in the ERP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Some articles are renamed.
    Rename,
    /// A family moves below another root, and one is renamed.
    MoveFamily,
    /// The prices of a family go up or down.
    Reprice,
    /// The stock on the shelves is counted.
    Count,
    /// Articles leave the catalog.
    Discontinue,
    /// An article is deleted from the ERP completely.
    Delete,
    /// A new article with formats is added.
    Launch,
    /// The office adds a customer.
    Enrol,
    /// Customers get another telephone number.
    Readdress,
    /// The goods of orders are taken from the shelves.
    Prepare,
    /// Prepared orders are shipped.
    Ship,
    /// One order that is not yet prepared is cancelled.
    Cancel,
}

/// One event of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    DropPrices,
    DropStock,
    /// Wait until everything on sale in the ERP can be bought in the shop.
    Opened,
    /// Wait until every order of the shop is in the ERP.
    Arrived,
    /// People open accounts in the shop.
    Register(u32),
    /// People buy in the shop.
    Buy {
        guests: u32,
        accounts: u32,
    },
    Company(Deed),
}

use Act::{Arrived, Buy, Company, DropPrices, DropStock, Opened, Register};
use Deed::{Cancel, Count, Delete, Discontinue, Enrol, Launch, MoveFamily, Prepare, Readdress, Rename, Reprice, Ship};

/// The events of `demo --once`. After them, a demo without an end goes on with `ROUTINE`.
const SCRIPT: [Act; 32] = [
    DropPrices,
    DropStock,
    Opened,
    Register(3),
    Buy { guests: 2, accounts: 3 },
    Company(Rename),
    Company(MoveFamily),
    Company(Reprice),
    DropPrices,
    Company(Count),
    DropStock,
    Register(1),
    Buy { guests: 1, accounts: 2 },
    Arrived,
    Company(Prepare),
    Company(Discontinue),
    Company(Delete),
    Company(Launch),
    DropPrices,
    DropStock,
    Company(Enrol),
    Company(Readdress),
    Company(Ship),
    Buy { guests: 2, accounts: 4 },
    Arrived,
    Company(Cancel),
    Company(Prepare),
    Company(Ship),
    Buy { guests: 1, accounts: 1 },
    Arrived,
    Company(Prepare),
    DropStock,
];

const ROUTINE: [Act; 16] = [
    Buy { guests: 1, accounts: 1 },
    Company(Count),
    DropStock,
    Company(Rename),
    Buy { guests: 0, accounts: 1 },
    Register(1),
    Company(Prepare),
    Company(Reprice),
    DropPrices,
    Buy { guests: 1, accounts: 0 },
    Company(Readdress),
    Company(Ship),
    Company(MoveFamily),
    Company(Enrol),
    Company(Prepare),
    DropStock,
];

/// Number of steps of the script.
#[must_use]
pub fn length() -> u32 {
    u32::try_from(SCRIPT.len()).unwrap_or(u32::MAX)
}

/// The event of step `step`, counted from 1.
#[must_use]
pub fn act(step: u32) -> Act {
    let at = usize::try_from(step.saturating_sub(1)).unwrap_or(0);
    SCRIPT.get(at).copied().unwrap_or_else(|| ROUTINE[(at - SCRIPT.len()) % ROUTINE.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_ends_and_daily_life_goes_on() {
        assert_eq!(act(1), DropPrices);
        assert_eq!(act(length()), DropStock);
        assert_eq!(act(length() + 1), ROUTINE[0]);
        assert_eq!(act(length() + 17), ROUTINE[0]);
    }

    #[test]
    fn prices_and_counts_are_followed_by_their_file() {
        for (at, what) in SCRIPT.iter().enumerate() {
            match what {
                Company(Reprice) => assert_eq!(SCRIPT[at + 1], DropPrices),
                Company(Count) => assert_eq!(SCRIPT[at + 1], DropStock),
                _ => {}
            }
        }
    }
}

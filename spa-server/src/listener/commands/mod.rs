//! Commands of the control socket, one file per group. Each answers at once, on the server's own
//! thread: nothing here may grow with the number of clients.

pub(super) mod bans;
pub(super) mod clients;
pub(super) mod clock;
pub(super) mod explain;
pub(super) mod grants;
pub(super) mod limits;
pub(super) mod revocation;
pub(super) mod status;

/// Most rows of one answer, and how many when nobody says.
const MAX_PAGE_ROWS: usize = 1000;

/// Number of rows of a page.
pub(super) fn page_size(limit: Option<usize>) -> usize {
    limit.unwrap_or(MAX_PAGE_ROWS).clamp(1, MAX_PAGE_ROWS)
}

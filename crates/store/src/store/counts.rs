//! Figures about alerts.

use crate::error::StoreError;

use super::Store;

/// Alerts about lists announce what others found; they are not counted.
const COUNT: &str = "SELECT scenario, COUNT(*) FROM alerts \
    WHERE kind <> 'capi' AND scope <> 'crowdsecurity/community-blocklist' AND scope NOT LIKE 'lists:%' \
    GROUP BY scenario ORDER BY scenario";

impl Store {
    /// How many alerts there are, scenario by scenario; those about lists of others are left out. The
    /// database looks at all alerts for it.
    ///
    /// # Errors
    /// The database fails.
    pub fn alert_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.ask("count alerts", |connection| {
            let mut counts = Vec::new();
            connection.query(COUNT, &[], &mut |row| {
                counts.push((row.text(0)?.to_owned(), row.int(1)?.unsigned_abs()));
                Ok(())
            })?;
            Ok(counts)
        })
    }
}

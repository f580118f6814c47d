//! Who must never be banned here, who is a good client, and how far a rule may reach.

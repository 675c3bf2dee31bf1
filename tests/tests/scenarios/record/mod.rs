//! What is kept and told about grants: the audit record, the figures, the lines for other programs.

mod audit;
mod crowdsec;
mod fail2ban;
mod figures;
mod share;
mod textfile;

//! A real knock: what opens, for whom, for how long, and what never changes.

mod capture;
mod ends;
mod firewall;
mod life;
mod words;

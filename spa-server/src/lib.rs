//! The SPA/1 server as a library: a pure engine, and the rooms around it that touch the kernel.

pub mod broker;
pub mod capture;
pub mod command;
pub mod config;
pub mod control;
pub mod domain;
pub mod enforcer;
pub mod engine;
pub mod firewall;
pub mod host_check;
pub mod ipc;
pub mod listener;
pub mod log;
pub mod metrics;
pub mod runner;
pub mod sandbox;
mod sockets;
pub mod store;

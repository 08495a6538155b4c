//! What a broker makes of bad days: the power is cut, a disk is full or breaks, clients come by the thousand or never read.
//! Real processes, real files, real etcd.

mod clients;
mod disk;
mod lease;
mod power;
mod support;

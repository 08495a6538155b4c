//! What a broker makes of machines that lose their power and of disks that fail, with real processes and real files.

mod disk;
mod power;
mod support;

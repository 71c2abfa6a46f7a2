;; WASI preview 1 as a guard may have it: nothing. The encoder merges it into components whose module was compiled for a system, in place of the
;; official adapter, which would ask the host for files, clocks and randomness. No arguments, no environment, no files, no sockets. The clock
;; begins at 0 and moves by a microsecond whenever it is read; randomness is one fixed sequence; what is printed is gone. All of that does not
;; trap, because runtimes ask for it before the guard's first line runs.
(module
  (import "env" "memory" (memory 0))

  ;; Answers of preview 1.
  (global $success i32 (i32.const 0))
  (global $badf i32 (i32.const 8))
  (global $spipe i32 (i32.const 70))

  (global $nanoseconds (mut i64) (i64.const 0))
  (global $random (mut i64) (i64.const 0))

  ;; -- Arguments and environment: none, in no bytes.
  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (global.get $success))
  (func $nothing_to_write (param i32 i32) (result i32) (global.get $success))
  (export "args_sizes_get" (func $none))
  (export "args_get" (func $nothing_to_write))
  (export "environ_sizes_get" (func $none))
  (export "environ_get" (func $nothing_to_write))

  ;; -- Time.
  (func (export "clock_res_get") (param $clock i32) (param $at i32) (result i32)
    (i64.store (local.get $at) (i64.const 1000))
    (global.get $success))
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $at i32) (result i32)
    (global.set $nanoseconds (i64.add (global.get $nanoseconds) (i64.const 1000)))
    (i64.store (local.get $at) (global.get $nanoseconds))
    (global.get $success))
  ;; The Go bindings call it around allocations, so that the official adapter's clock rests; this one has nothing to rest from.
  (func (export "adapter_monotonic_clock_set_paused") (param i32))
  (func (export "sched_yield") (result i32) (global.get $success))

  ;; -- Randomness: splitmix64 from 0, one byte of each number.
  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (local $end i32) (local $mixed i64)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $done
      (loop $byte
        (br_if $done (i32.eq (local.get $at) (local.get $end)))
        (global.set $random (i64.add (global.get $random) (i64.const 0x9e3779b97f4a7c15)))
        (local.set $mixed (global.get $random))
        (local.set $mixed (i64.mul
          (i64.xor (local.get $mixed) (i64.shr_u (local.get $mixed) (i64.const 30)))
          (i64.const 0xbf58476d1ce4e5b9)))
        (local.set $mixed (i64.mul
          (i64.xor (local.get $mixed) (i64.shr_u (local.get $mixed) (i64.const 27)))
          (i64.const 0x94d049bb133111eb)))
        (i64.store8 (local.get $at) (i64.xor (local.get $mixed) (i64.shr_u (local.get $mixed) (i64.const 31))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $byte)))
    (global.get $success))

  ;; -- The three standard streams: input is at its end, output takes everything and keeps nothing.
  (func (export "fd_read") (param $fd i32) (param $list i32) (param $count i32) (param $read i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (global.get $badf))))
    (i32.store (local.get $read) (i32.const 0))
    (global.get $success))
  (func (export "fd_write") (param $fd i32) (param $list i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (global.get $badf))))
    (block $done
      (loop $piece
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $list))))
        (local.set $list (i32.add (local.get $list) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $piece)))
    (i32.store (local.get $written) (local.get $sum))
    (global.get $success))
  (func (export "fd_fdstat_get") (param $fd i32) (param $at i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (global.get $badf))))
    (memory.fill (local.get $at) (i32.const 0) (i32.const 24))
    (i32.store8 (local.get $at) (i32.const 2))                  ;; a character device
    (i64.store offset=8 (local.get $at) (i64.const -1))         ;; with all rights
    (global.get $success))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (global.get $spipe))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (global.get $success))

  ;; -- Whatever is waited for has happened already.
  (func (export "poll_oneoff") (param $asked i32) (param $told i32) (param $count i32) (param $happened i32) (result i32)
    (i32.store (local.get $happened) (local.get $count))
    (block $done
      (loop $event
        (br_if $done (i32.eqz (local.get $count)))
        (memory.fill (local.get $told) (i32.const 0) (i32.const 32))
        (i64.store (local.get $told) (i64.load (local.get $asked)))
        (i32.store8 offset=10 (local.get $told) (i32.load8_u offset=8 (local.get $asked)))
        (local.set $asked (i32.add (local.get $asked) (i32.const 48)))
        (local.set $told (i32.add (local.get $told) (i32.const 32)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $event)))
    (global.get $success))

  ;; -- Whoever wants to end has failed to judge.
  (func (export "proc_exit") (param i32) unreachable)
  (func (export "proc_raise") (param i32) (result i32) unreachable)

  ;; -- Files and sockets: there are none, so no number stands for one.
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (global.get $badf))
  (func (export "fd_close") (param i32) (result i32) (global.get $badf))
  (func (export "fd_datasync") (param i32) (result i32) (global.get $badf))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (global.get $badf))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (global.get $badf))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_renumber") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_sync") (param i32) (result i32) (global.get $badf))
  (func (export "fd_tell") (param i32 i32) (result i32) (global.get $badf))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (global.get $badf))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (global.get $badf))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (global.get $badf))
)

;; For bench/run.py: errors keeps the JSON records that hold "level":"error", same keeps all.
(module
  (memory (export "memory") 16)
  (data (i32.const 16) "\"level\":\"error\"")
  (global $top (mut i32) (i32.const 1024))

  (func (export "millrace_abi_1"))

  (func $take (param $size i32) (result i32)
    (local $at i32) (local $missing i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.set $missing (i32.sub (global.get $top) (i32.shl (memory.size) (i32.const 16))))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $missing) (i32.const 16)) (i32.const 1))))))
    (local.get $at))

  (func (export "millrace_alloc") (param $size i32) (result i32)
    (global.set $top (i32.const 1024))
    (call $take (local.get $size)))

  ;; Whether the text at $at holds the words: eight bytes at a time, then the other seven.
  (func $holds (param $at i32) (param $size i32) (result i32)
    (local $end i32)
    (if (i32.lt_s (local.get $size) (i32.const 15)) (then (return (i32.const 0))))
    (local.set $end (i32.sub (i32.add (local.get $at) (local.get $size)) (i32.const 15)))
    (loop $next
      (if (i64.eq (i64.load align=1 (local.get $at)) (i64.load (i32.const 16)))
        (then (if (i64.eq (i64.load offset=7 align=1 (local.get $at)) (i64.load offset=7 align=1 (i32.const 16)))
          (then (return (i32.const 1))))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.le_u (local.get $at) (local.get $end))))
    (i32.const 0))

  (func (export "millrace__filter__errors") (param $batch i32) (result i32)
    (local $out i32) (local $record i32) (local $to i32) (local $count i32) (local $i i32)
    (local.set $count (i32.load offset=4 (local.get $batch)))
    (local.set $record (i32.load offset=8 (local.get $batch)))
    (local.set $out (call $take (i32.const 40)))
    (memory.fill (local.get $out) (i32.const 0) (i32.const 40))
    (i32.store (local.get $out) (i32.const 1))
    (local.set $to (call $take (i32.mul (local.get $count) (i32.const 48))))
    (i32.store offset=8 (local.get $out) (local.get $to))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
      (if (call $holds (i32.load offset=24 (local.get $record)) (i32.load offset=28 (local.get $record)))
        (then
          (memory.copy (local.get $to) (local.get $record) (i32.const 48))
          (i32.store offset=40 (local.get $to) (local.get $i))
          (local.set $to (i32.add (local.get $to) (i32.const 48)))
          (i32.store offset=4 (local.get $out) (i32.add (i32.load offset=4 (local.get $out)) (i32.const 1)))))
      (local.set $record (i32.add (local.get $record) (i32.const 48)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (local.get $out))

  ;; Every record as it is.
  (func (export "millrace__map__same") (param $batch i32) (result i32)
    (local $record i32) (local $i i32)
    (local.set $record (i32.load offset=8 (local.get $batch)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (i32.load offset=4 (local.get $batch))))
      (i32.store offset=40 (local.get $record) (local.get $i))
      (local.set $record (i32.add (local.get $record) (i32.const 48)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (local.get $batch)))

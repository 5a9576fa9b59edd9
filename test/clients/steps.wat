;; Transforms for tests. A record is told by the first byte of its value:
;; keep drops those with 'd'; mark changes the first byte to '#'; strict refuses those with 'b';
;; trap traps at 't'; spin never ends when it meets 's'.
(module
  (import "millrace" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "bad record")
  (data (i32.const 32) "a batch came")
  (global $top (mut i32) (i32.const 1024))
  (global $out (mut i32) (i32.const 0))     ;; the result being made
  (global $record (mut i32) (i32.const 0))  ;; of the input: the one that is looked at
  (global $index (mut i32) (i32.const 0))   ;; and its index

  (func (export "millrace_abi_1"))

  ;; Makes sure that memory reaches to $top.
  (func $room
    (local $missing i32)
    (local.set $missing (i32.sub (global.get $top) (i32.shl (memory.size) (i32.const 16))))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $missing) (i32.const 16)) (i32.const 1)))))))

  (func $take (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (call $room)
    (local.get $at))

  (func (export "millrace_alloc") (param $size i32) (result i32)
    (global.set $top (i32.const 1024))
    (call $take (local.get $size)))

  ;; An empty result with room for as many records and errors as the input has.
  (func $begin (param $batch i32)
    (local $count i32)
    (local.set $count (i32.load offset=4 (local.get $batch)))
    (global.set $record (i32.load offset=8 (local.get $batch)))
    (global.set $index (i32.const 0))
    (global.set $out (call $take (i32.const 40)))
    (memory.fill (global.get $out) (i32.const 0) (i32.const 40))
    (i32.store (global.get $out) (i32.const 1))
    (i32.store offset=8 (global.get $out) (call $take (i32.mul (local.get $count) (i32.const 48))))
    (i32.store offset=16 (global.get $out) (call $take (i32.mul (local.get $count) (i32.const 12)))))

  (func $first (result i32)
    (if (i32.le_s (i32.load offset=28 (global.get $record)) (i32.const 0)) (then (return (i32.const 0))))
    (i32.load8_u (i32.load offset=24 (global.get $record))))

  (func $keep_record
    (local $at i32)
    (local.set $at (i32.add (i32.load offset=8 (global.get $out))
                            (i32.mul (i32.load offset=4 (global.get $out)) (i32.const 48))))
    (memory.copy (local.get $at) (global.get $record) (i32.const 48))
    (i32.store offset=40 (local.get $at) (global.get $index))
    (i32.store offset=4 (global.get $out) (i32.add (i32.load offset=4 (global.get $out)) (i32.const 1))))

  (func $refuse_record
    (local $at i32)
    (local.set $at (i32.add (i32.load offset=16 (global.get $out))
                            (i32.mul (i32.load offset=12 (global.get $out)) (i32.const 12))))
    (i32.store (local.get $at) (global.get $index))
    (i32.store offset=4 (local.get $at) (i32.const 16))
    (i32.store offset=8 (local.get $at) (i32.const 10))
    (i32.store offset=12 (global.get $out) (i32.add (i32.load offset=12 (global.get $out)) (i32.const 1))))

  ;; What each transform does with one record, by its number.
  (func $do (param $what i32)
    (local $first i32)
    (local.set $first (call $first))
    (if (i32.eq (local.get $what) (i32.const 0))                       ;; keep
      (then (if (i32.ne (local.get $first) (i32.const 100)) (then (call $keep_record))) (return)))
    (if (i32.eq (local.get $what) (i32.const 1))                       ;; mark
      (then (if (local.get $first) (then (i32.store8 (i32.load offset=24 (global.get $record)) (i32.const 35))))
            (call $keep_record) (return)))
    (if (i32.eq (local.get $what) (i32.const 2))                       ;; strict
      (then (if (i32.eq (local.get $first) (i32.const 98)) (then (call $refuse_record)) (else (call $keep_record))) (return)))
    (if (i32.eq (local.get $what) (i32.const 3))                       ;; trap
      (then (if (i32.eq (local.get $first) (i32.const 116)) (then unreachable)) (call $keep_record) (return)))
    (if (i32.eq (local.get $first) (i32.const 115)) (then (loop $ever (br $ever))))  ;; spin
    (call $keep_record))

  (func $all (param $what i32) (param $batch i32) (result i32)
    (local $left i32)
    (call $begin (local.get $batch))
    (local.set $left (i32.load offset=4 (local.get $batch)))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $left)))
      (call $do (local.get $what))
      (global.set $record (i32.add (global.get $record) (i32.const 48)))
      (global.set $index (i32.add (global.get $index) (i32.const 1)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next)))
    (global.get $out))

  (func (export "millrace__filter__keep") (param i32) (result i32) (call $all (i32.const 0) (local.get 0)))
  (func (export "millrace__map__mark") (param i32) (result i32) (call $all (i32.const 1) (local.get 0)))
  (func (export "millrace__filter__strict") (param i32) (result i32)
    (call $log (i32.const 2) (i32.const 32) (i32.const 12))
    (call $all (i32.const 2) (local.get 0)))
  (func (export "millrace__filter__trap") (param i32) (result i32) (call $all (i32.const 3) (local.get 0)))
  (func (export "millrace__filter__spin") (param i32) (result i32) (call $all (i32.const 4) (local.get 0)))
  (func (export "millrace__expand__twice") (param i32) (result i32) (call $all (i32.const 0) (local.get 0))))

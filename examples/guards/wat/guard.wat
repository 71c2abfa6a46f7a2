;; Guard "sensitive-topic": people decide, or nothing passes, when a user speaks of one of the configured phrases.
;; Plain WebAssembly: what the SDKs of other languages do, by hand.
;;
;; A guard exports its memory, `cabi_realloc`, through which the host asks for room for what it hands over, and three functions, named after the
;; contract's interface: `describe`, `configure`, `scan`. Arguments and results that are more than a few numbers stand in memory, laid out as the
;; canonical ABI says; a text or a list is (pointer, length). The fields used here, by their offsets (all of them: layout.md):
;;
;;   input     stage 0 … messages 108,112                  message  44 bytes: role 0, parts 4,8
;;   part      20 bytes: case 0, text 4,8                  finding  36 bytes: rule 0,4  place: case 8, message 12, part 16
;;                                                                  start 20, end 24, score: is-some 28
;;   result<report, string>  56 bytes: is-err 0, verdict: case 4, text 8,12, approvers 16,20, required 24,
;;                           findings 28,32, labels 36,40, memory: is-some 44
;;   result<_, string>       12 bytes: is-err 0, text 4,8
;;
;; Zeroed memory is: no error, allow, nothing found. One instance judges once, so nothing is ever freed.
(module
  (memory (export "memory") 1)

  ;; ---- what is known from the start: 16 to 24 stay zero, 512 to 1024 take the phrases ----
  (data (i32.const 1024) "sensitive-topic")
  (data (i32.const 1040) "1.0.0")
  (data (i32.const 1056) "Asks for human review of sensitive topics")
  (data (i32.const 1104) "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"phrases\":{\"description\":\"Found wherever they stand, in whatever case\",\"type\":\"array\",\"minItems\":1,\"maxItems\":64,\"items\":{\"type\":\"string\",\"minLength\":1}},\"action\":{\"description\":\"What follows when one is found\",\"enum\":[\"require_approval\",\"block\"],\"default\":\"require_approval\"}},\"required\":[\"phrases\"]}")
  (data (i32.const 1472) "phrases")
  (data (i32.const 1488) "action")
  (data (i32.const 1504) "block")
  (data (i32.const 1520) "require_approval")
  (data (i32.const 1552) " is not allowed")
  (data (i32.const 1568) " requires human review")
  (data (i32.const 1600) "settings: expected a JSON object")
  (data (i32.const 1648) "phrases: expected a list of 1 to 64 texts that are not empty")
  (data (i32.const 1712) "action: expected require_approval or block")
  (data (i32.const 1760) "unknown setting; known are: phrases, action")
  (data (i32.const 1808)  ;; the manifest; numbers have their lowest byte first
    "\00\04\00\00\0f\00\00\00" "\10\04\00\00\05\00\00\00" "\20\04\00\00\29\00\00\00"  ;; name, version, description
    "\10\00\00\00\01\00\00\00"  ;; stages: one byte at 16, which is 0: ingress
    "\00\00\00\00"  ;; streaming: none; scope: message
    "\50\04\00\00\69\01\00\00" "\00\00\00\00\00\00\00\00")  ;; schema of the settings, notes: none

  (global $top (mut i32) (i32.const 4096))                    ;; everything from here on is free
  (global $count (mut i32) (i32.const 0))                  ;; phrases: pointer and length each, from 512 on
  (global $blocks (mut i32) (i32.const 0))                 ;; whether the action is to block
  (global $configured (mut i32) (i32.const 0))

  (func $alloc (param $align i32) (param $size i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
    (if (i32.lt_u (i32.add (local.get $at) (local.get $size)) (local.get $at)) (then (unreachable)))  ;; more than there is
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i64.le_u (i64.extend_i32_u (global.get $top)) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
      (br_if $fits (i32.ne (i32.const -1) (memory.grow
        (i32.sub (i32.add (i32.shr_u (global.get $top) (i32.const 16)) (i32.const 1)) (memory.size)))))
      (unreachable))                                       ;; no memory: a trap, and the guard has failed
    (local.get $at))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32) (local $new i32)
    (local.set $new (call $alloc (local.get $align) (local.get $size)))
    (memory.copy (local.get $new) (local.get $old) (local.get $old_size))
    (local.get $new))

  ;; ---- texts ----

  (func $lower (param $c i32) (result i32)                 ;; of ASCII letters, so that every byte stays where it is
    (select (i32.add (local.get $c) (i32.const 32)) (local.get $c)
      (i32.lt_u (i32.sub (local.get $c) (i32.const 65)) (i32.const 26))))

  (func $same (param $a i32) (param $b i32) (param $len i32) (result i32) (local $i i32)  ;; in any case
    (loop $next
      (if (i32.eq (local.get $i) (local.get $len)) (then (return (i32.const 1))))
      (if (i32.ne (call $lower (i32.load8_u (i32.add (local.get $a) (local.get $i))))
                  (call $lower (i32.load8_u (i32.add (local.get $b) (local.get $i)))))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; ---- settings: as much JSON as an object of texts and lists of texts needs ----

  (global $at (mut i32) (i32.const 0))                     ;; where reading goes on
  (global $end (mut i32) (i32.const 0))
  (global $text (mut i32) (i32.const 0))                   ;; what `$string` has read
  (global $len (mut i32) (i32.const 0))

  (func $byte (result i32)                                 ;; takes one; -1: there is none
    (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const -1))))
    (global.set $at (i32.add (global.get $at) (i32.const 1)))
    (i32.load8_u (i32.sub (global.get $at) (i32.const 1))))

  (func $take (param $wanted i32) (result i32) (local $c i32)  ;; whether this comes next, white space aside; then it is taken
    (loop $space
      (local.set $c (call $byte))
      (br_if $space (i32.or (i32.or (i32.eq (local.get $c) (i32.const 32)) (i32.eq (local.get $c) (i32.const 10)))
                            (i32.or (i32.eq (local.get $c) (i32.const 13)) (i32.eq (local.get $c) (i32.const 9))))))
    (if (i32.eq (local.get $c) (local.get $wanted)) (then (return (i32.const 1))))
    (if (i32.ne (local.get $c) (i32.const -1)) (then (global.set $at (i32.sub (global.get $at) (i32.const 1)))))
    (i32.const 0))

  (func $put (param $c i32)                                ;; one byte more of what `$string` reads
    (i32.store8 (i32.add (global.get $text) (global.get $len)) (local.get $c))
    (global.set $len (i32.add (global.get $len) (i32.const 1))))

  (func $hex4 (result i32) (local $value i32) (local $c i32) (local $i i32)  ;; -1: these are no four digits
    (loop $digit
      (local.set $c (call $lower (call $byte)))
      (local.set $c (select (i32.sub (local.get $c) (i32.const 87)) (i32.sub (local.get $c) (i32.const 48)) (i32.ge_s (local.get $c) (i32.const 97))))
      (if (i32.gt_u (local.get $c) (i32.const 15)) (then (return (i32.const -1))))
      (local.set $value (i32.or (i32.shl (local.get $value) (i32.const 4)) (local.get $c)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $digit (i32.lt_u (local.get $i) (i32.const 4))))
    (local.get $value))

  (func $escaped (result i32) (local $u i32) (local $low i32)  ;; what stands behind \u, as UTF-8
    (local.set $u (call $hex4))
    (if (i32.eq (i32.and (local.get $u) (i32.const 0xfffffc00)) (i32.const 0xd800)) (then  ;; the first half of a pair
      (if (i32.ne (call $byte) (i32.const 92)) (then (return (i32.const 0))))
      (if (i32.ne (call $byte) (i32.const 117)) (then (return (i32.const 0))))
      (local.set $low (i32.sub (call $hex4) (i32.const 0xdc00)))
      (if (i32.ge_u (local.get $low) (i32.const 0x400)) (then (return (i32.const 0))))
      (local.set $u (i32.add (i32.const 0x10000) (i32.or (i32.shl (i32.sub (local.get $u) (i32.const 0xd800)) (i32.const 10)) (local.get $low))))))
    (if (i32.or (i32.lt_s (local.get $u) (i32.const 0)) (i32.eq (i32.and (local.get $u) (i32.const 0xfffffc00)) (i32.const 0xdc00)))
      (then (return (i32.const 0))))
    (if (i32.lt_u (local.get $u) (i32.const 0x80)) (then (call $put (local.get $u)) (return (i32.const 1))))
    (if (i32.lt_u (local.get $u) (i32.const 0x800))
      (then (call $put (i32.or (i32.const 0xc0) (i32.shr_u (local.get $u) (i32.const 6)))))
      (else
        (if (i32.lt_u (local.get $u) (i32.const 0x10000))
          (then (call $put (i32.or (i32.const 0xe0) (i32.shr_u (local.get $u) (i32.const 12)))))
          (else
            (call $put (i32.or (i32.const 0xf0) (i32.shr_u (local.get $u) (i32.const 18))))
            (call $put (i32.or (i32.const 0x80) (i32.and (i32.shr_u (local.get $u) (i32.const 12)) (i32.const 63))))))
        (call $put (i32.or (i32.const 0x80) (i32.and (i32.shr_u (local.get $u) (i32.const 6)) (i32.const 63))))))
    (call $put (i32.or (i32.const 0x80) (i32.and (local.get $u) (i32.const 63))))
    (i32.const 1))

  (func $string (result i32) (local $c i32)                ;; whether a text comes next; then it is taken
    (if (i32.eqz (call $take (i32.const 34))) (then (return (i32.const 0))))
    (global.set $text (call $alloc (i32.const 1) (i32.sub (global.get $end) (global.get $at))))  ;; what is meant is never longer than what is written
    (global.set $len (i32.const 0))
    (loop $next
      (local.set $c (call $byte))
      (if (i32.lt_s (local.get $c) (i32.const 32)) (then (return (i32.const 0))))
      (if (i32.eq (local.get $c) (i32.const 34)) (then (return (i32.const 1))))
      (if (i32.ne (local.get $c) (i32.const 92)) (then (call $put (local.get $c)) (br $next)))
      (local.set $c (call $byte))
      (if (i32.eq (local.get $c) (i32.const 117)) (then (br_if $next (call $escaped)) (return (i32.const 0))))
      (if (i32.eq (local.get $c) (i32.const 98)) (then (call $put (i32.const 8)) (br $next)))
      (if (i32.eq (local.get $c) (i32.const 102)) (then (call $put (i32.const 12)) (br $next)))
      (if (i32.eq (local.get $c) (i32.const 110)) (then (call $put (i32.const 10)) (br $next)))
      (if (i32.eq (local.get $c) (i32.const 114)) (then (call $put (i32.const 13)) (br $next)))
      (if (i32.eq (local.get $c) (i32.const 116)) (then (call $put (i32.const 9)) (br $next)))
      (if (i32.or (i32.or (i32.eq (local.get $c) (i32.const 34)) (i32.eq (local.get $c) (i32.const 92))) (i32.eq (local.get $c) (i32.const 47)))
        (then (call $put (local.get $c)) (br $next))))
    (i32.const 0))

  (func $is (param $literal i32) (param $size i32) (result i32) (local $i i32)  ;; whether `$string` has read exactly this
    (if (i32.ne (global.get $len) (local.get $size)) (then (return (i32.const 0))))
    (loop $next
      (if (i32.eq (local.get $i) (local.get $size)) (then (return (i32.const 1))))
      (if (i32.ne (i32.load8_u (i32.add (global.get $text) (local.get $i))) (i32.load8_u (i32.add (local.get $literal) (local.get $i))))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next))
    (unreachable))

  (func $list (result i32) (local $entry i32)              ;; whether 1 to 64 texts come next, none empty; then they are taken
    (global.set $count (i32.const 0))
    (if (i32.eqz (call $take (i32.const 91))) (then (return (i32.const 0))))
    (loop $next
      (if (i32.or (i32.eqz (call $string)) (i32.eqz (global.get $len))) (then (return (i32.const 0))))
      (if (i32.eq (global.get $count) (i32.const 64)) (then (return (i32.const 0))))
      (local.set $entry (i32.add (i32.const 512) (i32.shl (global.get $count) (i32.const 3))))
      (i32.store (local.get $entry) (global.get $text))
      (i32.store offset=4 (local.get $entry) (global.get $len))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (br_if $next (call $take (i32.const 44))))
    (call $take (i32.const 93)))

  ;; ---- the contract ----

  (func (export "aegis:guard/scanner@0.1.0#describe") (result i32)
    (i32.const 1808))

  (func $refuse (param $why i32) (param $len i32) (result i32) (local $ret i32)
    (local.set $ret (call $alloc (i32.const 4) (i32.const 12)))
    (i32.store (local.get $ret) (i32.const 1))
    (i32.store offset=4 (local.get $ret) (local.get $why))
    (i32.store offset=8 (local.get $ret) (local.get $len))
    (local.get $ret))

  (func (export "aegis:guard/scanner@0.1.0#configure") (param $at i32) (param $len i32) (result i32) (local $ret i32)
    (global.set $at (local.get $at))
    (global.set $end (i32.add (local.get $at) (local.get $len)))
    (if (i32.eqz (call $take (i32.const 123))) (then (return (call $refuse (i32.const 1600) (i32.const 32)))))  ;; {
    (if (i32.eqz (call $take (i32.const 125))) (then
      (loop $settings
        (if (i32.eqz (call $string)) (then (return (call $refuse (i32.const 1600) (i32.const 32)))))
        (if (i32.eqz (call $take (i32.const 58))) (then (return (call $refuse (i32.const 1600) (i32.const 32)))))
        (if (call $is (i32.const 1472) (i32.const 7)) (then
          (if (i32.eqz (call $list)) (then (return (call $refuse (i32.const 1648) (i32.const 60))))))
        (else (if (call $is (i32.const 1488) (i32.const 6)) (then
          (if (i32.eqz (call $string)) (then (return (call $refuse (i32.const 1712) (i32.const 42)))))
          (global.set $blocks (call $is (i32.const 1504) (i32.const 5)))
          (if (i32.eqz (i32.or (global.get $blocks) (call $is (i32.const 1520) (i32.const 16)))) (then (return (call $refuse (i32.const 1712) (i32.const 42))))))
        (else (return (call $refuse (i32.const 1760) (i32.const 43)))))))
        (br_if $settings (call $take (i32.const 44))))
      (if (i32.eqz (call $take (i32.const 125))) (then (return (call $refuse (i32.const 1600) (i32.const 32)))))))
    (if (i32.eqz (global.get $count)) (then (return (call $refuse (i32.const 1648) (i32.const 60)))))
    (global.set $configured (i32.const 1))
    (local.set $ret (call $alloc (i32.const 4) (i32.const 12)))
    (memory.fill (local.get $ret) (i32.const 0) (i32.const 12))
    (local.get $ret))

  (func (export "aegis:guard/scanner@0.1.0#scan") (param $input i32) (result i32)
    (local $ret i32) (local $m i32) (local $p i32) (local $k i32) (local $message i32) (local $part i32)
    (local $text i32) (local $end i32) (local $at i32) (local $entry i32) (local $len i32) (local $finding i32)
    (if (i32.eqz (global.get $configured)) (then (unreachable)))
    (local.set $ret (call $alloc (i32.const 4) (i32.const 56)))
    (memory.fill (local.get $ret) (i32.const 0) (i32.const 56))
    (block $no_more_messages (loop $messages
      (br_if $no_more_messages (i32.ge_u (local.get $m) (i32.load offset=112 (local.get $input))))
      (local.set $message (i32.add (i32.load offset=108 (local.get $input)) (i32.mul (local.get $m) (i32.const 44))))
      (local.set $p (i32.const 0))
      (block $no_more_parts (loop $parts
        (br_if $no_more_parts (i32.ne (i32.load8_u (local.get $message)) (i32.const 2)))  ;; role: user
        (br_if $no_more_parts (i32.ge_u (local.get $p) (i32.load offset=8 (local.get $message))))
        (local.set $part (i32.add (i32.load offset=4 (local.get $message)) (i32.mul (local.get $p) (i32.const 20))))
        (if (i32.eqz (i32.load8_u (local.get $part))) (then                            ;; a text
          (local.set $text (i32.load offset=4 (local.get $part)))
          (local.set $end (i32.load offset=8 (local.get $part)))
          (local.set $k (i32.const 0))
          (block $no_more_phrases (loop $phrases
            (br_if $no_more_phrases (i32.eq (local.get $k) (global.get $count)))
            (local.set $entry (i32.add (i32.const 512) (i32.shl (local.get $k) (i32.const 3))))
            (local.set $len (i32.load offset=4 (local.get $entry)))
            (local.set $at (i32.const 0))
            (block $no_more (loop $search
              (br_if $no_more (i32.gt_u (i32.add (local.get $at) (local.get $len)) (local.get $end)))
              (if (call $same (i32.add (local.get $text) (local.get $at)) (i32.load (local.get $entry)) (local.get $len))
                (then
                  ;; Findings follow each other without a gap: nothing else is allocated until the last of them.
                  (local.set $finding (call $alloc (i32.const 4) (i32.const 36)))
                  (memory.fill (local.get $finding) (i32.const 0) (i32.const 36))
                  (if (i32.eqz (i32.load offset=28 (local.get $ret))) (then (i32.store offset=28 (local.get $ret) (local.get $finding))))
                  (i32.store offset=32 (local.get $ret) (i32.add (i32.load offset=32 (local.get $ret)) (i32.const 1)))
                  (i32.store (local.get $finding) (i32.load (local.get $entry)))       ;; the rule: the phrase as it is written
                  (i32.store offset=4 (local.get $finding) (local.get $len))
                  (i32.store offset=12 (local.get $finding) (local.get $m))            ;; case 0: a part
                  (i32.store offset=16 (local.get $finding) (local.get $p))
                  (i32.store offset=20 (local.get $finding) (local.get $at))
                  (local.set $at (i32.add (local.get $at) (local.get $len)))
                  (i32.store offset=24 (local.get $finding) (local.get $at)))
                (else (local.set $at (i32.add (local.get $at) (i32.const 1)))))
              (br $search)))
            (local.set $k (i32.add (local.get $k) (i32.const 1)))
            (br $phrases)))))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (br $parts)))
      (local.set $m (i32.add (local.get $m) (i32.const 1)))
      (br $messages)))
    (if (i32.eqz (i32.load offset=32 (local.get $ret))) (then (return (local.get $ret))))  ;; allow
    ;; The prompt: the first finding's rule, its first letter large, and the rest of the sentence.
    (local.set $finding (i32.load offset=28 (local.get $ret)))
    (local.set $at (i32.load (local.get $finding)))
    (local.set $p (i32.load offset=4 (local.get $finding)))
    (local.set $text (call $alloc (i32.const 4) (i32.add (local.get $p) (i32.const 32))))
    (memory.copy (local.get $text) (local.get $at) (local.get $p))
    (if (i32.lt_u (i32.sub (i32.load8_u (local.get $text)) (i32.const 97)) (i32.const 26))
      (then (i32.store8 (local.get $text) (i32.sub (i32.load8_u (local.get $text)) (i32.const 32)))))
    (i32.store offset=8 (local.get $ret) (local.get $text))
    (if (global.get $blocks)
      (then
        (memory.copy (i32.add (local.get $text) (local.get $p)) (i32.const 1552) (i32.const 15))
        (i32.store offset=4 (local.get $ret) (i32.const 2))  ;; block
        (i32.store offset=12 (local.get $ret) (i32.add (local.get $p) (i32.const 15))))
      (else
        (memory.copy (i32.add (local.get $text) (local.get $p)) (i32.const 1568) (i32.const 22))
        (i32.store offset=4 (local.get $ret) (i32.const 3))  ;; require-approval; approvers: none, required: 0
        (i32.store offset=12 (local.get $ret) (i32.add (local.get $p) (i32.const 22)))))
    (local.get $ret))
)

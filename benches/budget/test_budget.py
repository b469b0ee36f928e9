"""What the budget is held by: `python3 -m unittest discover -s benches/budget`."""

import tomllib
import unittest

import callgrind
import count

PROFILE = """\
fn=(1) eliza_gatekeeper::call
cfn=(2) posix_memalign
calls=3 +5
* 30
fn=(2)
cfn=(3) _mid_memalign
calls=3 +5
* 20
fn=(4) sqlite3MemMalloc
cfn=(5) malloc@@GLIBC_2.2.5
calls=2 +1
* 9
fn=(6) growing'2
cfn=(7) realloc
calls=1 0
* 9
cfn=(8) free
calls=6 0
* 9
fn=(7)
cfn=(5)
calls=1 0
* 9
"""


class Asked(unittest.TestCase):
    def test_memory_that_is_asked_for_is_counted_at_the_allocators_doors_alone(self):
        self.assertEqual(dict(callgrind.asked(PROFILE)), {"posix_memalign": 3, "malloc": 2, "realloc": 1})


class Compared(unittest.TestCase):
    budget = {"a call": {"instructions": 1000, "allocations": 10.0}}

    def wrong(self, instructions, allocations=10.0):
        return count.compared({"a call": {"instructions": instructions, "allocations": allocations}}, self.budget)

    def test_within_the_slack_it_holds(self):
        for instructions in (970, 1000, 1030):
            self.assertEqual(self.wrong(instructions), [])

    def test_dearer_fails(self):
        self.assertIn("more than", *self.wrong(1031))

    def test_cheaper_fails_too_and_says_what_to_do(self):
        self.assertIn("make budget-set", *self.wrong(969))

    def test_allocations_are_held_as_well(self):
        self.assertIn("allocations", *self.wrong(1000, 11.0))

    def test_what_is_in_one_of_the_two_alone_fails(self):
        self.assertEqual(len(count.compared({}, self.budget)), 1)
        self.assertEqual(len(count.compared(self.budget, {})), 2)

    def test_what_is_written_reads_back(self):
        given = {"compiler": "rustc 1.0.0"}
        self.assertEqual(tomllib.loads(count.written(self.budget, given)), {"counted_with": given, **self.budget})


if __name__ == "__main__":
    unittest.main()

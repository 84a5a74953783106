package stream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// matches gives what a tree of filters, each with itself as its value, finds.
func matches(t *FilterTree[Filter], s Subject) []Filter {
	found := []Filter{}
	t.Match(s, func(f *Filter) { found = append(found, *f) })
	slices.Sort(found)
	return found
}

// The tree finds what Filter.Match says, each filter once, while filters come
// and go; and an empty tree holds nothing.
func TestFilterTreeAgainstMatch(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	segments := []string{"a", "b", "", "$", "$x", "ä", "+", "#"}
	name := func(most int) string {
		var b strings.Builder
		for range 1 + rng.IntN(4) {
			b.WriteString("/" + segments[rng.IntN(most)])
		}
		return b.String()
	}
	var tree FilterTree[Filter]
	in := map[Filter]bool{}
	steps := 100_000
	if testing.Short() {
		steps = 20_000
	}
	for step := range steps {
		f, err := ParseFilter(name(len(segments)))
		if err != nil {
			continue
		}
		switch rng.IntN(6) {
		case 0:
			v := tree.Place(f)
			if in[f] != (*v == f) || !in[f] && *v != "" {
				t.Fatalf("seed %d, step %d: Place(%q) = %q", seed, step, f, *v)
			}
			*v, in[f] = f, true
		case 1:
			tree.Remove(f)
			delete(in, f)
		case 2:
			if v := tree.Find(f); in[f] != (v != nil) || v != nil && *v != f {
				t.Fatalf("seed %d, step %d: Find(%q) = %v", seed, step, f, v)
			}
		default:
			s, err := ParseSubject(name(len(segments) - 2))
			if err != nil {
				continue
			}
			want := []Filter{}
			for f := range in {
				if f.Match(s) {
					want = append(want, f)
				}
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, matches(&tree, s)); diff != "" {
				t.Fatalf("seed %d, step %d, subject %q: %s", seed, step, s, diff)
			}
			if v := tree.Exact(s); in[Filter(s)] != (v != nil) {
				t.Fatalf("seed %d, step %d: Exact(%q) = %v", seed, step, s, v)
			}
		}
		if tree.Len() != len(in) {
			t.Fatalf("seed %d, step %d: %d filters, want %d", seed, step, tree.Len(), len(in))
		}
	}
	for f := range in {
		tree.Remove(f)
	}
	if n := tree.Len() + len(tree.exact); n != 0 {
		t.Errorf("seed %d: the empty tree holds %d things", seed, n)
	}
	values, nodes := int(tree.values.next)-len(tree.values.free), int(tree.nodes.next)-len(tree.nodes.free)
	if root := tree.nodes.at(filterRoot); values != 1 || nodes != 2 || !root.isEmpty() {
		t.Errorf("seed %d: the empty tree holds %d values and %d nodes, the root %+v; want 1, which stands for none, and 2", seed, values, nodes, *root)
	}
}

// A tree keeps its values where they are while others come and go.
func TestFilterTreeValuesStay(t *testing.T) {
	var tree FilterTree[Filter]
	stays := tree.Place("/a/+")
	*stays = "/a/+"
	for i := range 10_000 {
		*tree.Place(Filter(fmt.Sprintf("/a/%d/#", i))) = "other"
	}
	for i := range 10_000 {
		tree.Remove(Filter(fmt.Sprintf("/a/%d/#", i)))
	}
	if tree.Find("/a/+") != stays || *stays != "/a/+" {
		t.Errorf("the value moved, and says %q", *stays)
	}
}

// The longest names that a peer can send cost what their length says, and no
// stack.
func TestFilterTreeOfLongNames(t *testing.T) {
	var tree FilterTree[Filter]
	place := func(f Filter) Filter {
		if _, err := ParseFilter(string(f)); err != nil {
			t.Fatal(err)
		}
		*tree.Place(f) = f
		return f
	}
	deep := place(Filter(strings.Repeat("/", MaxSubject-1) + "+"))
	long := place(Filter("/" + strings.Repeat("x", MaxSubject-3) + "/+"))
	all := place("/#")
	for _, tt := range []struct {
		name string
		s    Subject
		want []Filter
	}{
		{"as many segments as there can be", Subject(strings.Repeat("/", MaxSubject)), []Filter{all}},
		{"one less", Subject(strings.Repeat("/", MaxSubject-1)), []Filter{all, deep}},
		{"one long segment", Subject("/" + strings.Repeat("x", MaxSubject-3) + "/"), []Filter{all, long}},
	} {
		want := slices.Sorted(slices.Values(tt.want))
		if got := matches(&tree, tt.s); !slices.Equal(got, want) {
			t.Errorf("%s: %d filters, want %d", tt.name, len(got), len(want))
		}
	}
	for _, f := range []Filter{deep, long, all} {
		tree.Remove(f)
	}
	if n := int(tree.nodes.next) - len(tree.nodes.free); tree.Len() != 0 || n != 2 {
		t.Errorf("the empty tree holds %d filters and %d nodes, want 0 and 2", tree.Len(), n)
	}
}

// filterSets are what trees are measured with: n filters, and subjects of which
// each matches a few.
var filterSets = []struct {
	name    string
	filter  func(i int) Filter
	subject func(i, n int) Subject
}{
	{"exact", func(i int) Filter { return Filter(fmt.Sprintf("/site/%d/dev/%d/temp", i%97, i)) },
		func(i, n int) Subject { return Subject(fmt.Sprintf("/site/%d/dev/%d/temp", i%n%97, i%n)) }},
	{"device", func(i int) Filter { return Filter(fmt.Sprintf("/site/dev/%d/#", i)) },
		func(i, n int) Subject { return Subject(fmt.Sprintf("/site/dev/%d/temp", i%n)) }},
	{"chain", func(i int) Filter { return Filter(fmt.Sprintf("/%d/site/+/dev/temp/#", i)) },
		func(i, n int) Subject { return Subject(fmt.Sprintf("/%d/site/7/dev/temp/now", i%n)) }},
	{"plus", func(i int) Filter {
		return Filter([]string{"/+/b/c/d", "/a/+/c/d", "/+/+/c/d", "/a/b/+/+", "/a/b/c/#", "/+/b/#", "/a/#", "/+/+/+/+"}[i%8])
	}, func(i, n int) Subject { return "/a/b/c/d" }},
	{"nobody", func(i int) Filter { return Filter(fmt.Sprintf("/site/dev/%d/#", i)) },
		func(i, n int) Subject { return Subject(fmt.Sprintf("/other/dev/%d/temp", i%n)) }},
}

// BenchmarkFilterTreeMatch tells what it costs to find a subject's filters.
func BenchmarkFilterTreeMatch(b *testing.B) {
	for _, set := range filterSets {
		for _, n := range []int{8, 100_000} {
			b.Run(fmt.Sprintf("%s/filters=%d", set.name, n), func(b *testing.B) {
				var tree FilterTree[uint32]
				for i := range n {
					*tree.Place(set.filter(i)) = uint32(i + 1)
				}
				subjects := make([]Subject, 1<<14)
				for i := range subjects {
					subjects[i] = set.subject(i*7919, n)
				}
				b.ReportAllocs()
				found, i := uint32(0), 0
				for b.Loop() {
					tree.Match(subjects[i&(len(subjects)-1)], func(v *uint32) { found += *v })
					i++
				}
			})
		}
	}
}

// BenchmarkFilterTreeChange tells what it costs that a filter comes and goes.
func BenchmarkFilterTreeChange(b *testing.B) {
	for _, set := range filterSets[:3] {
		b.Run(set.name, func(b *testing.B) {
			var tree FilterTree[uint32]
			filters := make([]Filter, 1<<14)
			for i := range filters {
				filters[i] = set.filter(i)
				*tree.Place(filters[i]) = 1
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				f := filters[i&(len(filters)-1)]
				tree.Remove(f)
				*tree.Place(f) = 1
				i++
			}
		})
	}
}

// BenchmarkFilterTreeMemory tells what a filter costs beside its own text.
func BenchmarkFilterTreeMemory(b *testing.B) {
	const n = 1 << 18
	for _, set := range filterSets[:3] {
		b.Run(set.name, func(b *testing.B) {
			filters := make([]Filter, n)
			for i := range filters {
				filters[i] = set.filter(i)
			}
			for b.Loop() {
				before := liveBytes()
				var tree FilterTree[uint32]
				for _, f := range filters {
					*tree.Place(f) = 1
				}
				b.ReportMetric((liveBytes()-before)/n, "B/filter")
				if tree.Len() != n {
					b.Fatal(tree.Len())
				}
			}
		})
	}
}

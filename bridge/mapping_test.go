package bridge

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that MAPPING.md names is there, here or in cmd/nackmq, which talks to
// the program itself.
func TestMappingNamesTests(t *testing.T) {
	text, err := os.ReadFile("MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	files, _ := filepath.Glob("*_test.go")
	more, _ := filepath.Glob("../cmd/nackmq/*_test.go")
	for _, f := range append(files, more...) {
		src, _ := os.ReadFile(f)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(src, -1) {
			have[string(m[1])] = true
		}
	}
	for _, m := range regexp.MustCompile(`Test\w+`).FindAllString(string(text), -1) {
		if !have[m] {
			t.Errorf("MAPPING.md names %s, which is not there", m)
		}
	}
}

// How many numbered statements each section of MQTT 5 has, chapters 1.5, 2 to 4, 6.
var statements = []struct {
	section string
	first   int
	last    int
}{
	{"1.5.4", 1, 3}, {"1.5.5", 1, 1}, {"1.5.7", 1, 1}, {"2.1.3", 1, 1}, {"2.2.1", 2, 6}, {"2.2.2", 1, 1},
	{"3.1.0", 1, 2}, {"3.1.2", 1, 30}, {"3.1.3", 1, 12}, {"3.1.4", 1, 6}, {"3.2.0", 1, 2}, {"3.2.2", 1, 22},
	{"3.3.1", 1, 13}, {"3.3.2", 1, 20}, {"3.3.4", 1, 10}, {"3.4.2", 1, 3}, {"3.5.2", 1, 3}, {"3.6.1", 1, 1}, {"3.6.2", 1, 3},
	{"3.7.2", 1, 3}, {"3.8.1", 1, 1}, {"3.8.3", 1, 5}, {"3.8.4", 1, 8}, {"3.9.2", 1, 2}, {"3.9.3", 1, 2}, {"3.10.1", 1, 1},
	{"3.10.3", 1, 2}, {"3.10.4", 1, 6}, {"3.11.2", 1, 2}, {"3.11.3", 1, 2}, {"3.12.4", 1, 1}, {"3.14.0", 1, 1},
	{"3.14.1", 1, 1}, {"3.14.2", 1, 4}, {"3.14.4", 1, 3}, {"3.15.1", 1, 1}, {"3.15.2", 1, 3}, {"4.1.0", 1, 2}, {"4.2.0", 1, 1},
	{"4.3.1", 1, 1}, {"4.3.2", 1, 5}, {"4.3.3", 1, 13}, {"4.4.0", 1, 2}, {"4.5.0", 1, 2}, {"4.6.0", 1, 6}, {"4.7.0", 1, 1},
	{"4.7.1", 1, 2}, {"4.7.2", 1, 1}, {"4.7.3", 1, 4}, {"4.8.2", 1, 6}, {"4.9.0", 1, 3}, {"4.12.0", 1, 7}, {"4.12.1", 1, 2},
	{"4.13.1", 1, 1}, {"4.13.2", 1, 1}, {"6.0.0", 1, 4},
}

// MAPPING.md has every statement of MQTT 5 once, with a test or a mark that there is
// none, or among those for clients alone.
func TestMappingHasEveryStatement(t *testing.T) {
	text, err := os.ReadFile("MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(text), "\n## Statements\n")
	chapter, _, ok := strings.Cut(chapter, "\n### MQTT 3.1.1")
	if !ok {
		t.Fatal("MAPPING.md has no chapter Statements, or it has lost its parts")
	}
	rows := map[string]int{}
	for line := range strings.Lines(chapter) {
		if m := regexp.MustCompile(`^\| (\d[\d.]*-\d+) \|.*\|([^|]*)\|$`).FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			rows[m[1]]++
			if !strings.Contains(m[2], "Test") && !strings.Contains(m[2], "–") {
				t.Errorf("%s has neither a test nor a mark", m[1])
			}
		}
	}
	_, clients, _ := strings.Cut(chapter, "For clients alone: ")
	for _, n := range regexp.MustCompile(`\d[\d.]*-\d+`).FindAllString(clients, -1) {
		rows[n]++
	}
	for _, s := range statements {
		for i := s.first; i <= s.last; i++ {
			n := fmt.Sprintf("%s-%d", s.section, i)
			if rows[n] != 1 {
				t.Errorf("statement %s occurs %d times, want once", n, rows[n])
			}
			delete(rows, n)
		}
	}
	for n := range rows {
		t.Errorf("MQTT 5 has no statement %s", n)
	}
}

package bridge

import (
	"os"
	"path/filepath"
	"regexp"
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

package conformance

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/modyard/modyard/runner"
)

// testCase is one document. In its texts @OUTSIDE@ is a folder that all runs
// of the case share and no key should depend on.
type testCase struct {
	Name string
	// Modules are versions by NAME@VERSION, without the lines that all have.
	Modules map[string]string
	// Pipeline is the pipeline without the lines that all have.
	Pipeline string
	Files    map[string]string
	Runs     []testRun
}

// testRun is one run: changes, which stay for the runs after it; what the run
// is given; and what it gives.
type testRun struct {
	Edit   []edit
	Files  map[string]string
	Remove []string

	Set       map[string]string
	Inputs    map[string]string
	Env       map[string]string
	Secrets   map[string]string
	Force     []string
	From      []string
	Only      []string
	KeepGoing bool `yaml:"keepGoing"`
	// Cancel ends the run when this step has begun to print.
	Cancel string

	Want want
}

// edit replaces a text in the pipeline and the modules, where it must stand.
type edit struct{ From, To string }

// want is what a run gives. What is not named is not compared, but for the
// run's state.
type want struct {
	State    runner.State            // default: done
	Problems texts                   // texts in the problems that keep it from running
	Steps    map[string]runner.State // exactly
	Outputs  map[string]any          // exactly: values, contents of files, names and contents of folders
	Attempts map[string]int
	Values   map[string]map[string]any // of steps
	Error    map[string]texts
	Why      map[string]texts
	Log      map[string]texts // texts in the log
	NotLog   map[string]texts `yaml:"notLog"` // texts that are not in it
	LogBytes map[string]int   `yaml:"logBytes"`
	Within   time.Duration
	Damaged  bool // the run leaves the store damaged, which a later run mends
}

// texts is one text or several.
type texts []string

func (t *texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*t = texts{n.Value}
		return nil
	}
	return n.Decode((*[]string)(t))
}

// load reads the cases of a file.
func load(t *testing.T, cases fs.FS, file string) []testCase {
	data, err := fs.ReadFile(cases, file)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var out []testCase
	for {
		var c testCase
		err := d.Decode(&c)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: case %d: %v", file, len(out)+1, err)
		}
		if c.Name == "" || c.Pipeline == "" || len(c.Runs) == 0 {
			t.Fatalf("%s: case %d lacks a name, a pipeline or runs", file, len(out)+1)
		}
		out = append(out, c)
	}
}

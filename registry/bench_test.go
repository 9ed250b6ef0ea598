package registry_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/snapshot"
)

// The size of a large public registry of today.
const (
	manyModules  = 1250
	manyVersions = 9000
)

const manyVersion = `# yaml-language-server: $schema=https://raw.githubusercontent.com/modyard/modyard/main/schema/module-version.schema.json
apiVersion: modyard.dev/v1
kind: ModuleVersion
module: %[1]s
version: %[2]s
description: Multinomial logistic regression by gradient descent, build %[3]d.
created: %[4]s

inputs:
  data: {type: file, format: csv, description: "Clean rows; columns of numbers are the features"}
  weights: {type: file, format: csv, optional: true, description: "A weight a row; without, every row weighs the same"}
outputs:
  model: {type: file, format: json}
  loss: {type: number, description: The mean loss after the last epoch}
  report: {type: folder, description: The loss of every epoch}
params:
  label: {type: string, description: The column to predict}
  epochs: {type: integer, default: 200, minimum: 1}
  rate: {type: number, default: 0.5, exclusiveMinimum: 0}
  solver: {type: string, enum: [sgd, newton], default: sgd}

run:
  command:
    - python
    - train.py
    - --data=${{ inputs.data }}
    - [--weights, "${{ inputs.weights }}"]
    - --label=${{ params.label }}
    - --epochs=${{ params.epochs }}
    - --rate=${{ params.rate }}
    - --solver=${{ params.solver }}
    - --model=${{ outputs.model }}
    - --loss=${{ outputs.loss }}
    - --report=${{ outputs.report }}
  env: {OMP_NUM_THREADS: "1"}
  timeout: 10m

snapshot:
  folder: ../src
  digest: %[5]s
`

const manyModule = `apiVersion: modyard.dev/v1
kind: Module
name: %s
description: Trains a classifier on a table.
tags: [training, tabular]
`

// manyRegistry makes a large registry in a repository where all is published.
func manyRegistry(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	put(b, dir, "registry.yaml", "apiVersion: modyard.dev/v1\nkind: Registry\nname: many\n")
	put(b, dir, "modules/m0000/src/train.py", "print('trained')\n")
	tree, err := snapshot.Folder(filepath.Join(dir, "modules/m0000/src"))
	if err != nil {
		b.Fatal(err)
	}
	digest, err := tree.Digest(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for i := range manyVersions {
		name := fmt.Sprintf("m%04d", i%manyModules)
		n := i / manyModules
		if n == 0 {
			put(b, dir, "modules/"+name+"/module.yaml", fmt.Sprintf(manyModule, name))
			put(b, dir, "modules/"+name+"/src/train.py", "print('trained')\n")
		}
		number := fmt.Sprintf("1.%d.0", n)
		created := time.Date(2026, 1, 1+n, 0, 0, 0, 0, time.UTC).Format(time.RFC3339)
		put(b, dir, "modules/"+name+"/versions/"+number+".yaml", fmt.Sprintf(manyVersion, name, number, i, created, digest))
	}
	gitInit(b, dir)
	commit(b, dir, "all")
	return dir
}

func manyFiles(b *testing.B, dir string) []string {
	b.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".yaml") {
			files = append(files, p)
		}
		return err
	})
	if err != nil || len(files) != manyModules+manyVersions+1 {
		b.Fatalf("%d files: %v", len(files), err)
	}
	return files
}

// parseYAML merely parses the files, on all cores.
func parseYAML(files []string) error {
	var g errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(files); i += workers {
				data, err := os.ReadFile(files[i])
				if err != nil {
					return err
				}
				var n yaml.Node
				if err := yaml.Unmarshal(data, &n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func BenchmarkParseYAML(b *testing.B) {
	files := manyFiles(b, manyRegistry(b))
	for b.Loop() {
		if err := parseYAML(files); err != nil {
			b.Fatal(err)
		}
	}
}

func checkMany(b *testing.B, dir string, opt registry.CheckOptions, versions int) {
	b.Helper()
	res, err := registry.Check(b.Context(), dir, opt)
	if err != nil {
		b.Fatal(err)
	}
	if len(res.Diagnostics) > 0 || res.Versions != versions {
		b.Fatalf("%d versions, %d problems, the first: %v", res.Versions, len(res.Diagnostics), res.Diagnostics[:min(1, len(res.Diagnostics))])
	}
}

// BenchmarkCheck reports as x/parse how much longer a check takes than parsing
// the same files as YAML, the one measured right after the other.
func BenchmarkCheck(b *testing.B) {
	dir := manyRegistry(b)
	files := manyFiles(b, dir)
	var parsing, checking time.Duration
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		start := time.Now()
		if err := parseYAML(files); err != nil {
			b.Fatal(err)
		}
		parsing += time.Since(start)
		runtime.GC()
		b.StartTimer()
		start = time.Now()
		checkMany(b, dir, registry.CheckOptions{}, manyVersions)
		checking += time.Since(start)
	}
	b.ReportMetric(float64(checking)/float64(parsing), "x/parse")
}

// BenchmarkCheckBase checks what a pull request with one new version changes.
func BenchmarkCheckBase(b *testing.B) {
	dir := manyRegistry(b)
	data, err := os.ReadFile(filepath.Join(dir, "modules/m0000/versions/1.7.0.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	text := strings.NewReplacer("version: 1.7.0", "version: 1.8.0", "created: 2026-01-08", "created: 2026-02-01").Replace(string(data))
	put(b, dir, "modules/m0000/versions/1.8.0.yaml", text)
	for b.Loop() {
		checkMany(b, dir, registry.CheckOptions{Base: "HEAD"}, 1)
	}
}

// BenchmarkSearchFile reads the search file of a large registry, and tells its
// size compressed: 9,000 versions of 1,250 modules.
func BenchmarkSearchFile(b *testing.B) {
	dir := manyRegistry(b)
	r, _, err := registry.Open(os.DirFS(dir), dir)
	if err != nil {
		b.Fatal(err)
	}
	files, err := r.IndexFiles(strings.Repeat("1", 40), map[string]string{})
	if err != nil {
		b.Fatal(err)
	}
	data := files[registry.SearchFile]
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data); err != nil {
		b.Fatal(err)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if s, err := registry.ParseSearch(data); err != nil || len(s.Modules) != manyModules {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(packed.Len())/1024, "KiB-gzipped")
}

package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/schema"
)

// originFlags say where a new version's files come from when that is no folder
// of the registry.
type originFlags struct {
	git, archive, image, version, azure string
	strip                               int
}

func (o *originFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.git, "from-git", "", "take the files from a git repository: `URL#COMMIT[:FOLDER]`")
	f.StringVar(&o.archive, "from-archive", "", "take the files from a tar or zip archive: `URL[#FOLDER]`")
	f.IntVar(&o.strip, "strip", 0, "with --from-archive: drop this many leading folders of its names")
	f.StringVar(&o.image, "from-image", "", "take the files from an image, or make it the environment: `NAME@sha256:…[#FOLDER]`")
	f.StringVar(&o.version, "from-version", "", "take the files of another version: `MODULE@VERSION`")
	f.StringVar(&o.azure, "from-azure", "", "take the files from an Azure DevOps artifact: `ORGANIZATION/PROJECT/PIPELINE/RUN/ARTIFACT[#FOLDER]`")
}

// origin is the snapshot that the flags ask for, or nil.
func (o *originFlags) origin() (*schema.Snapshot, error) {
	var out []*schema.Snapshot
	text := func(s string) schema.Text { return schema.Text{Value: s} }
	if o.git != "" {
		url, rest, _ := strings.Cut(o.git, "#")
		commit, folder, _ := strings.Cut(rest, ":")
		if commit == "" {
			return nil, usagef("--from-git %q is not URL#COMMIT[:FOLDER]", o.git)
		}
		out = append(out, &schema.Snapshot{Origin: "git", Git: &schema.GitOrigin{URL: text(url), Commit: commit, Path: text(folder)}})
	}
	if o.archive != "" {
		url, folder, _ := strings.Cut(o.archive, "#")
		out = append(out, &schema.Snapshot{Origin: "archive", Archive: &schema.ArchiveOrigin{URL: text(url), Strip: o.strip, Path: text(folder)}})
	}
	if o.image != "" {
		name, folder, _ := strings.Cut(o.image, "#")
		out = append(out, &schema.Snapshot{Origin: "image", Image: &schema.ImageOrigin{Name: text(name), Path: text(folder)}})
	}
	if o.version != "" {
		out = append(out, &schema.Snapshot{Origin: "snapshot", Version: text(o.version)})
	}
	if o.azure != "" {
		path, folder, _ := strings.Cut(o.azure, "#")
		part := strings.Split(path, "/")
		if len(part) != 5 {
			return nil, usagef("--from-azure %q is not ORGANIZATION/PROJECT/PIPELINE/RUN/ARTIFACT[#FOLDER]", o.azure)
		}
		pipeline, errP := strconv.ParseInt(part[2], 10, 64)
		run, errR := strconv.ParseInt(part[3], 10, 64)
		if errP != nil || errR != nil {
			return nil, usagef("--from-azure %q: the pipeline and the run are numbers", o.azure)
		}
		out = append(out, &schema.Snapshot{Origin: "azureDevOps", AzureDevOps: &schema.AzureDevOpsOrigin{
			Organization: part[0], Project: part[1], Pipeline: pipeline, Run: run, Artifact: part[4], Path: text(folder),
		}})
	}
	switch {
	case len(out) > 1:
		return nil, usagef("a version's files come from one place: give one --from-… flag")
	case len(out) == 0:
		return nil, nil
	}
	return out[0], nil
}

// snapshotText writes a snapshot in one line.
func snapshotText(s *schema.Snapshot) string {
	switch {
	case s.Git != nil:
		return flowFields("git", flowFields("url", flowText(s.Git.URL.Value), "commit", flowText(s.Git.Commit), "path", flowText(s.Git.Path.Value)))
	case s.Archive != nil:
		strip := ""
		if s.Archive.Strip > 0 {
			strip = strconv.Itoa(s.Archive.Strip)
		}
		return flowFields("archive", flowFields("url", flowText(s.Archive.URL.Value), "strip", strip, "path", flowText(s.Archive.Path.Value)))
	case s.Image != nil:
		return flowFields("image", flowFields("name", flowText(s.Image.Name.Value), "path", flowText(s.Image.Path.Value)))
	case s.Version.Value != "":
		return flowFields("snapshot", flowText(s.Version.Value))
	case s.AzureDevOps != nil:
		a := s.AzureDevOps
		return flowFields("azureDevOps", flowFields("organization", flowText(a.Organization), "project", flowText(a.Project),
			"pipeline", strconv.FormatInt(a.Pipeline, 10), "run", strconv.FormatInt(a.Run, 10), "artifact", flowText(a.Artifact), "path", flowText(a.Path.Value)))
	}
	return flowFields("folder", flowText(s.Folder.Value))
}

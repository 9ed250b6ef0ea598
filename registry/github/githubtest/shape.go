package githubtest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// api is the URL of something of the repository in the API.
func (r *Repo) api(format string, args ...any) string {
	return r.s.URL + "/repos/" + r.FullName() + fmt.Sprintf(format, args...)
}

// html is the URL of a page about it, which nobody serves.
func (r *Repo) html(format string, args ...any) string {
	return r.s.URL + "/" + r.FullName() + fmt.Sprintf(format, args...)
}

// node makes a node_id.
func node(kind string, id any) string {
	return kind + "_" + base64.RawURLEncoding.EncodeToString(fmt.Append(nil, id))
}

// userJSON is a person, or a bot when the login ends so.
func (s *Server) userJSON(login string) object {
	id, url := s.userID(login), s.URL+"/users/"+url.PathEscape(login)
	kind, page := "User", s.URL+"/"+login
	if name, ok := strings.CutSuffix(login, "[bot]"); ok {
		kind, page = "Bot", s.URL+"/apps/"+name
	}
	u := object{
		"login": login, "id": id, "node_id": node("U", id), "avatar_url": fmt.Sprintf("%s/u/%d?v=4", s.URL, id), "gravatar_id": "",
		"url": url, "html_url": page, "type": kind, "user_view_type": "public", "site_admin": false,
		"following_url": url + "/following{/other_user}", "gists_url": url + "/gists{/gist_id}", "starred_url": url + "/starred{/owner}{/repo}",
		"events_url": url + "/events{/privacy}", "organizations_url": url + "/orgs",
	}
	for _, name := range []string{"followers", "subscriptions", "repos", "received_events"} {
		u[name+"_url"] = url + "/" + name
	}
	return u
}

func user(c *call) *answer {
	switch {
	case c.who == nil:
		return refuse(http.StatusUnauthorized, "Requires authentication")
	case c.who.bot():
		return forbidden()
	}
	u := c.userJSON(c.who.login)
	for _, name := range []string{"name", "company", "location", "email", "hireable", "bio"} {
		u[name] = nil
	}
	for _, name := range []string{"public_repos", "public_gists", "followers", "following"} {
		u[name] = 0
	}
	u["blog"], u["created_at"], u["updated_at"] = "", "2008-01-14T04:33:35Z", "2008-01-14T04:33:35Z"
	return ok(u)
}

// repoURLs are the addresses of the API in a repository's JSON, by name
// without _url.
var repoURLs = map[string]string{
	"archive": "/{archive_format}{/ref}", "assignees": "/assignees{/user}", "blobs": "/git/blobs{/sha}", "branches": "/branches{/branch}",
	"collaborators": "/collaborators{/collaborator}", "comments": "/comments{/number}", "commits": "/commits{/sha}",
	"compare": "/compare/{base}...{head}", "contents": "/contents/{+path}", "contributors": "/contributors", "deployments": "/deployments",
	"downloads": "/downloads", "events": "/events", "forks": "/forks", "git_commits": "/git/commits{/sha}", "git_refs": "/git/refs{/sha}",
	"git_tags": "/git/tags{/sha}", "hooks": "/hooks", "issue_comment": "/issues/comments{/number}", "issue_events": "/issues/events{/number}",
	"issues": "/issues{/number}", "keys": "/keys{/key_id}", "labels": "/labels{/name}", "languages": "/languages", "merges": "/merges",
	"milestones": "/milestones{/number}", "notifications": "/notifications{?since,all,participating}", "pulls": "/pulls{/number}",
	"releases": "/releases{/id}", "stargazers": "/stargazers", "statuses": "/statuses/{sha}", "subscribers": "/subscribers",
	"subscription": "/subscription", "tags": "/tags", "teams": "/teams", "trees": "/git/trees{/sha}",
}

// json is the repository as who sees it.
func (r *Repo) json(who *token) object {
	o := object{
		"id": r.id, "node_id": node("R", r.id), "name": r.Name, "full_name": r.FullName(), "private": r.Private, "visibility": "public",
		"owner": r.s.userJSON(r.Owner), "html_url": r.html(""), "url": r.api(""), "description": nil, "fork": r.parent != nil,
		"clone_url": r.CloneURL(), "git_url": "git:" + strings.TrimPrefix(r.CloneURL(), "http:"), "ssh_url": "git@localhost:" + r.FullName() + ".git",
		"svn_url": r.html(""), "mirror_url": nil, "homepage": nil, "language": nil, "license": nil, "topics": []string{}, "size": 0,
		"default_branch": r.DefaultBranch, "created_at": r.created, "updated_at": r.created, "pushed_at": r.created,
		"archived": false, "disabled": false, "is_template": false, "allow_forking": true, "web_commit_signoff_required": false,
		"permissions": object{"admin": false, "maintain": false, "push": who.pushes(r), "triage": who.pushes(r), "pull": true},
	}
	if r.Private {
		o["visibility"] = "private"
	}
	for name, path := range repoURLs {
		o[name+"_url"] = r.api("") + path
	}
	for _, name := range []string{"issues", "projects", "downloads", "wiki", "pages", "discussions"} {
		o["has_"+name] = name != "pages" && name != "discussions"
	}
	for _, name := range []string{"forks", "forks_count", "open_issues", "open_issues_count", "stargazers_count", "watchers", "watchers_count"} {
		o[name] = 0
	}
	return o
}

// full is what there is only when one repository is asked for.
func (r *Repo) full(who *token) object {
	o := r.json(who)
	o["network_count"], o["subscribers_count"] = 0, 0
	if r.parent != nil {
		o["parent"], o["source"] = r.parent.json(who), r.source().json(who)
	}
	return o
}

// source is the repository all forks come from.
func (r *Repo) source() *Repo {
	for r.parent != nil {
		r = r.parent
	}
	return r
}

// network finds owner's repository among the forks, nil when there is none.
func (r *Repo) network(owner string) *Repo {
	for _, other := range r.s.sorted() {
		if strings.EqualFold(other.Owner, owner) && other.source() == r.source() {
			return other
		}
	}
	return nil
}

func getRepo(c *call) *answer {
	c.repo.sync()
	return ok(c.repo.full(c.who))
}

// fork makes the fork at once, where GitHub takes a while after its 202.
func fork(c *call) *answer {
	in := struct {
		Organization, Name string
		Default            bool `json:"default_branch_only"`
	}{c.who.login, c.repo.Name, false}
	if a := c.decode(&in); a != nil {
		return a
	}
	if a := c.empty(); a != nil {
		return refuse(http.StatusForbidden, "The repository exists, but it contains no Git content. Empty repositories cannot be forked.")
	}
	if c.who.bot() {
		return forbidden()
	}
	r := c.repo.network(in.Organization)
	if r == nil {
		for n := 1; c.Server.repo(in.Organization, in.Name) != nil; n++ {
			in.Name = c.repo.Name + "-" + strconv.Itoa(n)
		}
		var err error
		if r, err = c.newRepo(in.Organization, in.Name, c.repo); err != nil {
			c.tb.Errorf("githubtest: %v", err)
			return refuse(http.StatusInternalServerError, "Server Error")
		}
		if len(c.who.repos) > 0 {
			c.who.repos = append(c.who.repos, strings.ToLower(r.FullName()))
		}
	}
	return &answer{status: http.StatusAccepted, body: r.full(c.who)}
}

// permission is of a user the server knows from anything at all.
func permission(c *call) *answer {
	login := c.r.PathValue("username")
	switch {
	case c.who == nil:
		return refuse(http.StatusUnauthorized, "Requires authentication")
	case !c.who.own(c.repo):
		return refuse(http.StatusForbidden, "Must have push access to view collaborator permission.")
	case c.users[strings.ToLower(login)] == 0:
		return refuse(http.StatusNotFound, "%s is not a user", login)
	}
	role := c.repo.collaborators[strings.ToLower(login)]
	switch {
	case strings.EqualFold(login, c.repo.Owner):
		role = "admin"
	case role == "" && c.repo.Private:
		role = "none"
	case role == "":
		role = "read"
	}
	old := role // permission knows four words only
	switch role {
	case "maintain":
		old = "write"
	case "triage":
		old = "read"
	}
	at := slices.Index([]string{"none", "read", "triage", "write", "maintain", "admin"}, role)
	u := c.userJSON(login)
	u["role_name"] = role
	u["permissions"] = object{"pull": at >= 1, "triage": at >= 2, "push": at >= 3, "maintain": at >= 4, "admin": at >= 5}
	return ok(object{"permission": old, "role_name": role, "user": u})
}

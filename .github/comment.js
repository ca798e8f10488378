// One comment on the pull request, found again by its marker and updated: MARKER, TITLE, BODY_FILE; SUMMARY folds the text.
const { readFileSync } = require('node:fs')

const LONGEST = 60_000 // GitHub takes 65,536 characters

module.exports = async ({ github, context }) => {
  const { MARKER, TITLE, BODY_FILE, SUMMARY } = process.env
  let text = readFileSync(BODY_FILE, 'utf8').trim()
  if (text.length > LONGEST) text = `${text.slice(0, LONGEST)}\n… The rest is in the workflow's log.`
  // A fence longer than any in the text, so that nothing in it ends the block.
  const fence = '`'.repeat(Math.max(3, ...(text.match(/`+/g) ?? []).map((run) => run.length + 1)))
  const shown = SUMMARY ? `<details><summary>${SUMMARY}</summary>\n\n${fence}\n${text}\n${fence}\n</details>` : text
  const body = `${MARKER}\n${TITLE}\n\n${shown}\n`
  const where = { owner: context.repo.owner, repo: context.repo.repo }
  const comments = await github.paginate(github.rest.issues.listComments, { ...where, issue_number: context.issue.number, per_page: 100 })
  const before = comments.find((comment) => comment.user?.type === 'Bot' && comment.body?.startsWith(MARKER))
  if (before) await github.rest.issues.updateComment({ ...where, comment_id: before.id, body })
  else await github.rest.issues.createComment({ ...where, issue_number: context.issue.number, body })
}

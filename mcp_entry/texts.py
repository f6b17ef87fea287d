"""Results in words: the texts of the tools, and of the commands that have no view of their own. Pure functions.

Claude Code shows its model only the structured content of a tool's answer, so a text is a summary. The text of ``read``
is the answer itself.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from actors.messages import MessageStatus
from mcp_entry.sizes import cut
from supervisor.api import results

_LONGEST_REASON = 200
_MOST_FILES = 10
_OUR_REFS = "refs/phalanx/"
_PLAIN = frozenset({MessageStatus.ACCEPTED, MessageStatus.SUBMITTED})
_SPARES = {"instances": "spare agents", "worktrees": "spare worktrees"}
_ARTICLES = {"executive": "an", "manager": "a", "specialist": "a"}
_UNITS = {"messageBatchDelay": " ms", "cacheTTL": " ms"}


def of_spawn(result: results.SpawnResult) -> str:
    where = f"branch {result.branch} in " if result.branch else ""
    started = (
        f"{result.instance_id}, {_ARTICLES[result.role]} {result.role}, was started and is {result.status}: "
        f"{where}{result.working_directory}."
    )
    return "\n".join([started, *(f"Note: {note}" for note in result.notes)])


def of_spawn_batch(result: results.SpawnBatchResult) -> str:
    started = [member.instance_id for member in result.instances if member.success and member.instance_id]
    seconds = result.performance.duration / 1000
    failed = [
        f"instances[{index}] failed: {_error(member.error)}"
        for index, member in enumerate(result.instances)
        if not member.success
    ]
    notes = [f"Note on {member.instance_id}: {note}" for member in result.instances for note in member.notes]
    heading = f"{len(started)} of {len(result.instances)} started in {seconds:.1f} s: {', '.join(started) or 'none'}."
    return "\n".join([heading, *failed, *notes])


def of_prewarm(result: results.PrewarmResult) -> str:
    spares = f"{counted(result.instances, 'spare agent')} and {counted(result.worktrees, 'spare worktree')}"
    ready = f"Ready for {result.work_dir}: {spares}."
    taken = [f"Spawns have taken {result.taken} of what was asked for meanwhile."] if result.taken else []
    return "\n".join([ready, *taken, *(f"Some are not there: {error}" for error in result.errors)])


def of_send(result: results.SendResult) -> str:
    if result.error:
        return f"The message to {result.instance_id} was refused: {_error(result.error)}"
    reason = f" ({result.reason})" if result.reason else ""
    taken_out = f" {result.removed_characters} control characters were removed." if result.removed_characters else ""
    changed = f" It arrived changed: {'; '.join(result.changes)}." if result.changes else ""
    status = "held" if result.status is MessageStatus.BLOCKED else result.status
    return f"{result.message_id} to {result.instance_id} is {status}{reason}.{taken_out}{changed}"


def of_send_batch(result: results.SendBatchResult) -> str:
    counts = Counter(str(each.status or "refused") for each in result.results)
    heading = f"{counted(len(result.results), 'message')}: {counts_in_words(counts)}."
    odd = [
        f"messages[{index}]: {of_send(each)}"
        for index, each in enumerate(result.results)
        if each.status not in _PLAIN or each.removed_characters or each.changes
    ]
    return "\n".join([heading, *odd])


def of_read(result: results.ReadResult) -> str:
    if result.source == "screen":
        return result.screen or "(the screen is empty)"
    lines = list(map(_entry, result.entries))
    more = " There is more: read on with it." if result.more else ""
    end = [f"cursor: {result.cursor}.{more}"] if result.cursor else []
    return "\n".join([*(lines or ["(nothing new)"]), *end])


def _entry(entry: results.ConversationEntry) -> str:
    tool = f" {entry.tool}" if entry.tool else ""
    left_out = f" … ({entry.left_out} characters left out: read with full={entry.full})" if entry.left_out else ""
    return f"[{entry.at}] {entry.kind}{tool}: {entry.text}{left_out}"


def of_list(result: results.ListResult) -> str:
    warnings = [f"Warning: {warning}" for warning in result.warnings]
    hidden = f" {result.not_shown} terminated are not shown (includeStopped)." if result.not_shown else ""
    if not result.instances:
        return "\n".join([*warnings, f"There are no instances. Start some with spawn_batch.{hidden}"])
    total = len(result.instances) + (result.left_out or 0)
    more = f" Only {len(result.instances)} are shown." if result.left_out else ""
    spares = f" {spares_in_words(result.spares)}." if result.spares else ""
    heading = f"{counted(total, 'instance')}: {counts_in_words(result.counts)}.{hidden}{more}{spares}"
    return "\n".join([*warnings, heading, *map(_instance, result.instances), *of_conflicts(result.conflicts)])


def of_wait(result: results.WaitResult) -> str:
    others = [f"The others: {counts_in_words(result.others)}."] if result.others else []
    return "\n".join([how_it_ended(result), *map(_instance, result.instances), *others])


def how_it_ended(result: results.WaitResult) -> str:
    if not result.reached:
        return f"Not reached. {result.reason or 'The time ran out.'}"
    needing = [each.instance_id for each in result.instances if each.needs_attention]
    return f"Reached. Needs attention: {', '.join(needing)}." if needing else "Reached."


def of_respond(result: results.RespondResult) -> str:
    answered = "denied" if result.decision == "deny" else "allowed"
    what = f"{result.permission.tool} was {answered}" if result.permission else "the dialog was answered"
    return f"{result.instance_id}: {what}; it is {result.status} now."


def of_interrupt(result: results.InterruptResult) -> str:
    what = "was interrupted" if result.interrupted else "had no turn under way"
    return f"{result.instance_id} {what}; it is {result.status} now."


def of_terminate(result: results.TerminateResult) -> str:
    lines = []
    for each in result.terminated:
        lines.append(of_terminated(each))
        if each.saved_ref:
            lines.append(f"  {how_to_get_back(each.saved_ref, each.repository)}")
    return "\n".join([*lines, *of_still_running(result)]) or "Nothing was running."


def of_terminated(each: results.TerminatedInstance) -> str:
    """The outcome for one instance; the caller adds ``how_to_get_back`` when work was saved."""
    if each.error:
        return f"{each.instance_id} was not terminated: {_error(each.error)}"
    removed = "its workspace was removed" if each.workspace_removed else "its workspace stays"
    why = f" {each.kept}" if each.kept else ""
    saved = " This makes a branch of what was saved:" if each.saved_ref else ""
    return f"{each.instance_id} is {each.status}; {removed}.{why}{saved}"


def of_still_running(result: results.TerminateResult) -> list[str]:
    if not result.still_running:
        return []
    return [f"Those below go on: {', '.join(result.still_running)}. Terminate with cascade stops them too."]


def of_recycle(result: results.RecycleResult) -> str:
    return f"{result.instance_id} goes on with a fresh conversation and is {result.status}. It knows:\n{result.summary}"


def of_limit(result: results.LimitResult) -> str:
    limits = result.limits.model_dump(by_alias=True, exclude_none=True)
    words = (f"{name} {', '.join(value) if isinstance(value, list) else value}" for name, value in limits.items())
    own = result.tokens.input + result.tokens.output + result.tokens.cache_creation
    total = result.tokens.counted
    used = f" It has used {own} tokens." if total is None else f" It and all below it have used {total} tokens."
    held = f" It is held: {result.reason}" if result.reason else ""
    return f"Limits of {result.instance_id}: {'; '.join(words) or 'none'}.{used}{held}"


def of_restart(result: results.RestartsResult) -> str:
    if result.restarted is None:
        return _restarted(result)
    return "\n".join(
        f"{each.instance_id} was not restarted: {_error(each.error)}" if each.error else _restarted(each)
        for each in result.restarted
    )


def _restarted(each: results.RestartsResult | results.RestartOutcome) -> str:
    return f"{each.instance_id} was restarted and is {each.status}; {_how_it_goes_on(each.resumed)}."


def _how_it_goes_on(resumed: bool | None) -> str:
    return "its conversation goes on" if resumed else "it had no conversation yet"


def of_git_batch(result: results.GitBatchResult) -> str:
    done = sum(each.success for each in result.results)
    hits = result.performance.cache_hits
    heading = f"{done} of {counted(len(result.results), 'operation')} done{f', {hits} from the cache' if hits else ''}."
    failed = [
        f"operations[{index}]{_git_asked(each)} failed: {_error(each.error)}"
        for index, each in enumerate(result.results)
        if not each.success
    ]
    return "\n".join([heading, *failed])


def _git_asked(outcome: results.GitOutcome) -> str:
    """Type and directory, as far as a malformed operation has them."""
    kind = f" {outcome.type}" if outcome.type else ""
    return f"{kind} in {outcome.workspace_dir}" if outcome.workspace_dir else kind


def of_merge(result: results.MergeResult) -> str:
    if result.moved:
        heading = f"{result.into} is at {(result.commit or '')[:12]} now, with {', '.join(result.order)}."
    elif result.success:
        heading = f"{result.into} had all of it already."
    else:
        heading = f"Nothing was merged{f' into {result.into}' if result.into else ''}."
    return "\n".join([heading, *map(_merged, result.instances), *of_conflicts(result.conflicts)])


def of_conflicts(conflicts: Sequence[results.BranchConflict]) -> list[str]:
    return [f"{' and '.join(one.between)} conflict in {_some(one.files)}." for one in conflicts]


def _merged(each: results.MergedWork) -> str:
    committed = "; its changes were committed" if each.committed else ""
    told = "; it was told to resolve the conflict" if each.told else ""
    why = f": {each.reason}" if each.reason else ""
    return f"- {each.instance_id}{_on(each.branch)} {each.state.replace('_', ' ')}{committed}{told}{why}"


def of_sync(result: results.SyncResult) -> str:
    return "\n".join(_synced(each) for each in result.instances)


def _synced(each: results.SyncedWork) -> str:
    files = f" in {_some(each.files)}" if each.files else ""
    told = "; it was told to resolve it" if each.told else ""
    why = f": {each.reason}" if each.reason else ""
    source = f" with {each.from_branch}" if each.from_branch else ""
    return f"- {each.instance_id} {each.state.replace('_', ' ')}{source}{files}{told}{why}"


def _on(branch: str | None) -> str:
    return f" on {branch}" if branch else ""


def _some(files: Sequence[str]) -> str:
    more = f" and {len(files) - _MOST_FILES} more" if len(files) > _MOST_FILES else ""
    return f"{', '.join(files[:_MOST_FILES])}{more}"


def of_resume(result: results.ResumeResult) -> str:
    started = sum(each.error is None for each in result.instances)
    total = len(result.instances)
    were = "was" if total == 1 else "were"
    heading = f"{started} of {counted(total, 'instance')} {were} started again."
    return "\n".join([heading, *(_resumed(each) for each in result.instances)])


def how_to_get_back(saved_ref: str, repository: str | None) -> str:
    """The command that makes a branch of saved work. It changes no file."""
    branch = shlex.quote(saved_ref.removeprefix(_OUR_REFS))
    command = f"branch {branch} {shlex.quote(saved_ref)}"
    return f"git -C {shlex.quote(repository)} {command}" if repository else f"git {command}"


def _resumed(each: results.ResumedInstance) -> str:
    if each.error:
        return f"{each.instance_id} was not started again: {_error(each.error)}"
    return f"{each.instance_id} is {each.status}; {_how_it_goes_on(each.resumed)}."


def _instance(each: results.InstanceInfo) -> str:
    line = f"- {each.instance_id} {each.role} {each.status}"
    line += f" name={each.name}" if each.name else ""
    line += f" branch={each.branch}" if each.branch else ""
    line += f" {of_work(each.work)}" if each.work else ""
    line += f" unread={each.unread}" if each.unread else ""
    line += f" held={each.held_messages}" if each.held_messages else ""
    line += f" asks for {each.permission.tool}" if each.permission else ""
    return line + (f" ({cut(' '.join(each.reason.split()), _LONGEST_REASON)})" if each.reason else "")


def of_work(work: results.WorkInfo) -> str:
    uncommitted = f"{work.uncommitted_files or 0} uncommitted"
    if work.base is None:
        return uncommitted + (f", not compared: {work.reason}" if work.reason else "")
    files = counted(work.changed_files or 0, "file")
    return f"{work.ahead or 0} ahead, {work.behind or 0} behind, {files}, {uncommitted}"


def counted(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def spares_in_words(number: int) -> str:
    return f"{counted(number, 'spare agent')} at the prompt, for the next spawns"


def counts_in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {word}" for word, number in counts.items())


def _error(error: results.ErrorInfo | None) -> str:
    return f"{error.message} ({error.code})" if error else "no reason is known"


def of_get_performance(result: results.GetPerformanceResult) -> str:
    seen = result.performance
    steps = [f"{one.at}: spawn cap {one.before} → {one.after}, because {one.reason}." for one in result.auto[-3:]]
    lines = [
        f"Score {seen.score} of 100.",
        *(f"-{lost.points}: {lost.reason}" for lost in seen.lost),
        *(f"Recommended ({one.priority}): {one.suggestion} {one.impact}" for one in result.recommendations),
        *_figures(result.metrics),
        *steps,
    ]
    return "\n".join(lines)


def _figures(metrics: results.Metrics) -> Iterator[str]:
    spawns, messages, queues = metrics.spawns, metrics.messages, metrics.queues
    yield f"In the last {metrics.window_seconds:.0f} s, of {metrics.instances.alive} living instances:"
    yield (
        f"- spawns: {spawns.total} ({spawns.failed} failed, {spawns.from_pool} from the pool), "
        f"{seconds(spawns.avg_time)} each; {queues.spawn.running} run, {queues.spawn.pending} wait "
        f"(cap {queues.spawn.limit})"
    )
    yield (
        f"- messages: {messages.delivered} delivered in {messages.turns} turns, {messages.failed} failed, "
        f"{messages.unconfirmed} unconfirmed; half within {seconds(messages.time.p50)}, {messages.pending} under way"
    )
    yield (
        f"- git: {metrics.git.total} operations, {seconds(metrics.git.avg_time)} each; {queues.git.pending} wait; "
        f"cache: {metrics.cache.hits} of {metrics.cache.hits + metrics.cache.misses} found"
    )
    yield f"- state: {metrics.store.mode}, a write takes {seconds(metrics.store.write.avg)}"
    for name, stock in (("spare agents", metrics.pools.instances), ("spare worktrees", metrics.pools.worktrees)):
        if stock.waits_for and stock.ready < stock.wanted:
            yield f"- {stock.ready} of {stock.wanted} {name} are ready; the others wait for {stock.waits_for}"
    yield from map(of_host, metrics.hosts)


def of_host(host: results.HostFigures) -> str:
    of_slots = "" if host.slots is None else f" of {host.slots}"
    ready = ", ".join(f"{count} {_SPARES[kind]}" for kind, count in (host.spares or {}).items() if count)
    return (
        f"- {host.host}: {host.instances}{of_slots} instances{f' ({ready} ready)' if ready else ''}, {host.cpus} cores "
        f"{host.cpu_busy:.0%} busy, {host.memory_available_mb / 1000:.1f} of {host.memory_total_mb / 1000:.1f} GB of "
        "memory free"
    )


def of_optimize_settings(result: results.OptimizeSettingsResult) -> str:
    old, new = (each.model_dump(by_alias=True) for each in (result.old_settings, result.new_settings))
    changes = [
        f"- {name}: {in_words(name, old[name])} → {in_words(name, value)}"
        for name, value in new.items()
        if value != old[name]
    ]
    if not changes:
        return "Nothing has changed: these settings apply already."
    return "\n".join(["It applies now, and for the next team too:", *changes])


def in_words(name: str, value: float | bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}{_UNITS.get(name, '')}"


def seconds(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"

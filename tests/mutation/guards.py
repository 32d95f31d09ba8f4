"""The guards: for each, the one line that removes it and the tests that must not let that pass."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands between an attacker, or an accident, and harm."""

    name: str
    path: str
    """Below `lambda_app`."""
    line: str
    """Text that stands in the file exactly once."""
    without: str
    """What stands there when the guard is gone."""
    tests: tuple[str, ...]
    """Below `tests`; at least one of them has to fail then."""


API = "integration/api/"

GUARDS = (
    # Whose file it is
    Guard(
        "a file is managed by its owner",
        "repositories/file_access.py",
        "return true() if user.is_superuser else File.owner_id == user.id",
        "return true()",
        (f"{API}test_files.py::test_every_file_route_knows_anonymous_stranger_owner_superuser_and_unknown",),
    ),
    Guard(
        "only an available file is served",
        "services/files.py",
        "if file.status != FileStatus.AVAILABLE:\n            raise FileNotAvailableError(extra",
        "if False:\n            raise FileNotAvailableError(extra",
        (f"{API}test_files.py::test_only_available_files_are_served",),
    ),
    Guard(
        "a key of an Idempotency-Key belongs to its user and route",
        "repositories/idempotency.py",
        "select(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.route == route, IdempotencyKey.key == key)",
        "select(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key).limit(1)",
        (f"{API}test_idempotency.py::test_key_belongs_to_its_user_and_route",),
    ),
    Guard(
        "an Idempotency-Key stands for one body",
        "services/idempotency.py",
        "if taken.fingerprint != request.fingerprint:",
        "if False:",
        (f"{API}test_idempotency.py::test_key_with_another_body_is_refused",),
    ),
    Guard(
        "a change on condition looks at the revision",
        "repositories/files.py",
        "change = change.where(File.revision == revision)",
        "pass",
        (f"{API}test_file_lists.py::test_change_on_condition_fails_when_somebody_was_faster",),
    ),
    # What S3 may be told
    Guard(
        "an upload is written once",
        "storage/admission.py",
        '"If-None-Match": "*", ',
        "",
        (f"{API}test_files.py::test_upload_url_works_once",),
    ),
    Guard(
        "the digest is part of the signature",
        "storage/admission.py",
        "    if sha256 is None:\n        return {}",
        "    return {}",
        (f"{API}test_files.py::test_s3_refuses_what_was_not_declared",),
    ),
    Guard(
        "the length is part of the signature",
        "storage/admission.py",
        '{"Content-Length": str(size_bytes), "Content-Type": content_type, ',
        '{"Content-Type": content_type, ',
        (f"{API}test_files.py::test_upload_response_says_all_that_the_client_must_send", "unit/storage", "integration/storage"),
    ),
    Guard(
        "the size of what came is compared",
        "services/settlement.py",
        "if stored.size_bytes != file.size_bytes:",
        "if False:",
        (f"{API}test_files.py::test_object_that_is_not_the_declared_one_is_rejected_and_deleted",),
    ),
    Guard(
        "the digest of what came is compared",
        "services/settlement.py",
        "return file.sha256 is None or stored.sha256 == file.sha256",
        "return True",
        (f"{API}test_files.py::test_object_that_is_not_the_declared_one_is_rejected_and_deleted",),
    ),
    Guard(
        "only a pending file becomes available",
        "repositories/file_life.py",
        "return self._step(File.id == file_id, File.status == FileStatus.PENDING, after=FileStatus.AVAILABLE, **values)",
        "return self._step(File.id == file_id, after=FileStatus.AVAILABLE, **values)",
        (f"{API}test_races.py", "integration/life/test_event_orders.py"),
    ),
    Guard(
        "only a row whose bytes are gone is removed",
        "repositories/file_life.py",
        "delete(File).where(File.id == file_id, File.status.in_(_GONE))",
        "delete(File).where(File.id == file_id)",
        ("integration/life/test_steps.py",),
    ),
    Guard(
        "active content is served as bytes",
        "storage/content.py",
        "return essence if essence in _HARMLESS else FALLBACK_CONTENT_TYPE",
        "return essence",
        ("unit/storage/test_content.py", f"{API}test_files.py::test_active_content_is_served_as_a_harmless_attachment"),
    ),
    Guard(
        "a file name cannot break its header",
        "storage/content.py",
        """fallback = re.sub(r'[^ -~]|["\\\\%]', "_", name)""",
        "fallback = name",
        ("unit/storage/test_content.py",),
    ),
    Guard(
        "a file name hides nothing",
        "storage/content.py",
        'return "" if category in ("Cc", "Cf", "Cs", "Zl", "Zp") else character',
        "return character",
        ("unit/storage/test_content.py",),
    ),
    # How much
    Guard(
        "bytes within the quota",
        "repositories/file_life.py",
        "(User.bytes_used + file.size_bytes <= func.coalesce(User.quota_bytes, literal(default_bytes, BigInteger)))",
        "literal(True)",
        (f"{API}test_quota.py",),
    ),
    Guard(
        "files within the quota",
        "repositories/file_life.py",
        "User.files_count < func.coalesce(User.quota_files, default_files)",
        "literal(True)",
        (f"{API}test_quota.py",),
    ),
    Guard(
        "what is released depends on the state that was left",
        "repositories/file_life.py",
        "update(User).where(User.id == found.c.owner_id, found.c.status.in_(CHARGED), is_first)",
        "update(User).where(User.id == found.c.owner_id, is_first)",
        (f"{API}test_quota.py", "integration/life"),
    ),
    Guard(
        "a body has its limit",
        "routers/edge.py",
        "        if size > BODY_MAX_BYTES:\n",
        "        if False:\n",
        (f"{API}test_bad_input.py",),
    ),
    Guard(
        "a live upload is not swept",
        "repositories/sweep.py",
        "File.upload_expires_at < ",
        "File.upload_expires_at > ",
        ("integration/life/test_sweep.py",),
    ),
    Guard(
        "strays have their time",
        "services/sweep.py",
        "if not is_live and upload.started_at <= self.now - self.stray_min_age:",
        "if not is_live:",
        ("integration/life/test_sweep.py",),
    ),
    # Who is calling
    Guard(
        "a session that was ended is over",
        "repositories/sessions.py",
        "        UserSession.user_id == User.id,\n        UserSession.revoked_at.is_(None),\n",
        "        UserSession.user_id == User.id,\n",
        (f"{API}test_sessions.py",),
    ),
    Guard(
        "a disabled user is refused",
        "repositories/sessions.py",
        "        UserSession.token_epoch == User.token_epoch,\n        User.is_active,",
        "        UserSession.token_epoch == User.token_epoch,",
        (f"{API}test_login.py::test_disabled_user_is_refused_on_the_next_request",),
    ),
    Guard(
        "an epoch that is over ends every token",
        "repositories/sessions.py",
        "        UserSession.token_epoch == User.token_epoch,\n        User.is_active,",
        "        User.is_active,",
        (f"{API}test_sessions.py::test_every_credential_ends_on_the_next_request",),
    ),
    Guard(
        "a refresh token is good once",
        "repositories/sessions.py",
        "                RefreshToken.used_at.is_(None),\n",
        "",
        (f"{API}test_sessions.py",),
    ),
    Guard(
        "a stolen refresh token ends its session",
        "services/sessions.py",
        "            self._sessions.revoke_reused(token_hash)\n",
        "",
        (f"{API}test_sessions.py",),
    ),
    Guard(
        "a token's header is exactly ours",
        "core/security/tokens.py",
        'if header != {"alg": ALGORITHM, "typ": "JWT", "kid": kid} or not isinstance(kid, str):',
        "if not isinstance(kid, str):",
        ("unit/core/test_tokens.py", f"{API}test_forgeries.py"),
    ),
    Guard(
        "a token is dead at its expiry",
        "core/security/tokens.py",
        "if clock.now().timestamp() >= expires_at:",
        "if False:",
        ("unit/core/test_tokens.py",),
    ),
    Guard(
        "a token is of our kind and for us",
        "core/security/tokens.py",
        'if claims["typ"] != ACCESS_TOKEN_TYPE or claims["aud"] != AUDIENCE:',
        "if False:",
        ("unit/core/test_tokens.py",),
    ),
    Guard(
        "a long token is not parsed",
        "core/security/tokens.py",
        "if len(token) > TOKEN_MAX_BYTES or not _COMPACT.fullmatch(token):",
        "if not _COMPACT.fullmatch(token):",
        ("unit/core/test_tokens.py", f"{API}test_forgeries.py"),
    ),
    Guard(
        "old signing keys are not used on",
        "core/security/keys.py",
        "        except AppError:\n            self._ring = None\n            raise",
        "        except AppError:\n            if self._ring is not None:\n                return self._ring\n            raise",
        ("unit/core/test_keys.py",),
    ),
    Guard(
        "strangers cannot make the keys be fetched without end",
        "core/security/keys.py",
        "return self._read(FORCED_FETCH_SECONDS).find(kid)",
        "return self._read(0).find(kid)",
        ("unit/core/test_keys.py",),
    ),
    Guard(
        "an API key opens what its scopes name",
        "services/authentication.py",
        "if scope is not None and scope not in scopes and Scope.ADMIN not in scopes:",
        "if False:",
        (f"{API}test_api_keys.py::test_key_opens_what_its_scopes_name",),
    ),
    Guard(
        "a superuser's key for files opens their own only",
        "services/authentication.py",
        "user.is_superuser = False",
        "user.is_superuser = True",
        (f"{API}test_api_keys.py::test_superusers_key_for_files_opens_their_own_files_only",),
    ),
    Guard(
        "broken credentials are not taken for none",
        "dependencies/auth.py",
        'if len(values) > 1 or scheme.lower() != "bearer" or not token:\n            raise NotAuthenticatedError("Not authenticated")',
        'if len(values) > 1 or scheme.lower() != "bearer" or not token:\n            return None',
        (f"{API}test_login.py::test_broken_credentials_are_not_taken_for_none",),
    ),
    # Sharing
    Guard(
        "a viewer changes nothing",
        "repositories/file_access.py",
        "return or_(manageable_by(user), _is_granted_to(user, GrantRole.EDITOR))",
        "return or_(manageable_by(user), _is_granted_to(user))",
        (f"{API}test_grants.py::test_viewer_reads_and_changes_nothing",),
    ),
    Guard(
        "an editor does not decide who may read",
        "repositories/file_access.py",
        "if user.is_superuser or not EDITORS_FIELDS.issuperset(fields):",
        "if user.is_superuser:",
        (f"{API}test_grants.py::test_editor_changes_name_and_description_and_nothing_else",),
    ),
    Guard(
        "nothing of a disabled account is handed to others",
        "repositories/file_access.py",
        "return exists(select(User.id).where(User.id == File.owner_id, User.is_active))",
        "return true()",
        (f"{API}test_grants.py::test_file_of_a_disabled_owner_is_handed_to_nobody",),
    ),
    Guard(
        "a revoked or expired link is closed",
        "repositories/file_access.py",
        "return and_(Share.revoked_at.is_(None), or_(Share.expires_at.is_(None), Share.expires_at > at), has_owner)",
        "return has_owner",
        (f"{API}test_share_links.py",),
    ),
    Guard(
        "a link grants as many downloads as it has",
        "repositories/file_access.py",
        "return or_(Share.max_downloads.is_(None), Share.download_count < Share.max_downloads)",
        "return true()",
        (f"{API}test_share_links.py",),
    ),
    Guard(
        "a link is for its audience",
        "repositories/file_access.py",
        "return or_(is_for_anyone, and_(link_knows_viewer(visit), is_admitted))",
        "return true()",
        (f"{API}test_share_links.py",),
    ),
    Guard(
        "a link's password is proven as it is now",
        "repositories/file_access.py",
        "and_(Share.id == proven.share_id, Share.password_version == proven.password_version))",
        "Share.id == proven.share_id)",
        (f"{API}test_share_links.py::test_changed_password_ends_every_pass_on_the_next_request",),
    ),
    Guard(
        "a link opens what is still its owner's",
        "repositories/file_access.py",
        "is_the_sharers = or_(File.owner_id == _Sharer.id, _Sharer.is_superuser)",
        "is_the_sharers = true()",
        (f"{API}test_share_links.py::test_link_of_a_superuser_opens_others_files_only_while_they_are_one",),
    ),
    Guard(
        "robots get no bytes",
        "routers/share_links.py",
        "    if is_unasked(request):\n        raise RobotError\n    signed",
        "    signed",
        (f"{API}test_share_links.py::test_robots_and_prefetching_count_nothing_and_get_no_bytes",),
    ),
    Guard(
        "a request takes as many files as it says",
        "repositories/file_life.py",
        "        FileRequest.file_count < FileRequest.max_files,\n",
        "",
        (f"{API}test_file_requests.py::test_limits_of_size_and_count_and_room",),
    ),
    Guard(
        "a request takes files as large as it says",
        "repositories/file_life.py",
        "        FileRequest.max_size_bytes >= file.size_bytes,\n",
        "",
        (f"{API}test_file_requests.py::test_limits_of_size_and_count_and_room",),
    ),
    # Passwords
    Guard(
        "an unknown user costs what a known one does",
        "core/security/passwords.py",
        "            password, hashed_password = password[:PASSWORD_MAX_LENGTH], UNKNOWN_USER_HASH\n",
        "            return False\n",
        (f"{API}test_login_timing.py",),
    ),
    Guard(
        "wrong passwords are counted before they are tried",
        "services/password_gate.py",
        "        if admission.is_admitted:\n",
        "        if True:\n",
        (f"{API}test_throttle.py",),
    ),
    Guard(
        "common passwords are refused",
        "core/security/password_rules.py",
        "typed in _common_passwords() or ",
        "",
        (f"{API}test_recovery.py::test_common_password_is_refused",),
    ),
    Guard(
        "a link in a mail is good once",
        "repositories/mail_tokens.py",
        "                MailToken.used_at.is_(None),\n                MailToken.expires_at",
        "                MailToken.expires_at",
        (f"{API}test_recovery.py::test_confirmation_can_be_asked_for_again_until_it_was_given",),
    ),
    Guard(
        "a link in a mail dies with the password it was asked for",
        "repositories/mail_tokens.py",
        "                    User.token_epoch == MailToken.token_epoch,\n",
        "",
        (f"{API}test_recovery.py::test_link_dies_when_the_password_is_changed",),
    ),
    Guard(
        "somebody else's account is not changed",
        "services/accounts.py",
        "        if not is_self and not editor.is_superuser:\n            raise PermissionDeniedError\n        changes",
        "        changes",
        (f"{API}test_users.py", f"{API}test_authorisation.py"),
    ),
    Guard(
        "nobody makes themselves a superuser",
        "services/accounts.py",
        'if not editor.is_superuser:\n            raise PermissionDeniedError("Only a superuser changes is_active',
        'if False:\n            raise PermissionDeniedError("Only a superuser changes is_active',
        (f"{API}test_users.py",),
    ),
    Guard(
        "nobody gives themselves room",
        "services/accounts.py",
        "if changes.keys() & QUOTA_FIELDS and not editor.is_superuser:",
        "if False:",
        (f"{API}test_quota.py::test_users_neither_set_their_quota_nor_see_others_usage",),
    ),
    Guard(
        "a new password needs the old one",
        "services/accounts.py",
        'if is_self and changes.keys() & {"email", "password"}:',
        "if False:",
        (f"{API}test_users.py",),
    ),
    # What is told, and to whom
    Guard(
        "a refusal does not echo what was sent",
        "routers/problems.py",
        '"msg": error["msg"].removeprefix("Value error, "),',
        '"msg": str(error),',
        (f"{API}test_bad_input.py::test_refusal_never_echoes_the_value",),
    ),
    Guard(
        "an unforeseen error is answered without a word of it",
        "routers/edge.py",
        "await problem_response(status=AppError.status, code=AppError.code, detail=AppError.message)(scope, receive, send_marked)",
        "raise",
        (f"{API}test_gateway_events.py::test_unforeseen_error_is_a_problem_without_a_word_of_it",),
    ),
    Guard(
        "the access log names the route and never the path",
        "routers/edge.py",
        'route = getattr(scope.get("route"), "path", None)',
        'route = scope["path"]',
        (f"{API}test_gateway_events.py::test_access_log_names_the_route_and_never_the_path",),
    ),
    Guard(
        "the database's errors do not repeat values",
        "db/engine.py",
        "hide_parameters=True,",
        "hide_parameters=False,",
        ("integration/db/test_sign_in.py::test_statement_errors_do_not_repeat_values",),
    ),
    Guard(
        "the log does not show the row that was refused",
        "db/errors.py",
        " for name, text in fields.items() if name != DETAIL}",
        " for name, text in fields.items()}",
        ("integration/db/test_sign_in.py::test_refused_row_is_not_shown",),
    ),
    Guard(
        "a connection that failed between two messages is thrown away",
        "db/engine.py",
        '    event.listen(engine, "handle_error", _discard_interrupted)\n',
        "",
        ("integration/db", f"{API}test_hostile_strings.py"),
    ),
    Guard(
        "the next page keeps only what the route knows",
        "routers/paging.py",
        "if name in known]",
        "]",
        (f"{API}test_gateway_events.py::test_next_page_keeps_only_what_the_route_knows",),
    ),
    Guard(
        "every answer says that it is data",
        "routers/browser.py",
        '    message["headers"].extend(pair for pair in _RAW if pair[0] not in given)\n',
        "",
        (f"{API}test_browser_headers.py",),
    ),
    Guard(
        "an audited action and its event are one",
        "repositories/audit.py",
        'return select(aliased(model, changed)).add_cte(logged.cte("logged"))',
        "return select(aliased(model, changed))",
        (f"{API}test_audit.py",),
    ),
)
